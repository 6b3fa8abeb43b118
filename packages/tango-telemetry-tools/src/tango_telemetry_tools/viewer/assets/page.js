"use strict";
(() => {
  const rows = [...document.querySelectorAll(".row")];
  const { spans, resources } = JSON.parse(document.getElementById("details").textContent);
  const depth = rows.map((row) => Number(row.getAttribute("aria-level")));
  const byId = (id) => document.getElementById(id);

  // Everything that came out of a span is set with textContent, so that it stays text.
  function element(tag, text, className) {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  }

  function section(title, pairs) {
    const block = element("div");
    if (!pairs.length) return block;
    block.append(element("h2", title));
    const table = element("table");
    for (const [key, value] of pairs) {
      const line = table.insertRow();
      line.insertCell().textContent = key;
      line.insertCell().textContent = typeof value === "string" ? value : JSON.stringify(value);
    }
    block.append(table);
    return block;
  }

  function toggleDetail(index) {
    const row = rows[index];
    const open = row.querySelector(".detail");
    if (open) {
      open.remove();
      row.classList.remove("open");
      return;
    }
    const data = spans[index];
    if (!data) return;
    const panel = element("div", undefined, "detail");
    if (data.error) panel.append(element("p", data.error, "reason"));
    const columns = element("div", undefined, "columns");
    columns.append(section("Attributes", data.attributes), section("Span", data.span));
    panel.append(columns);
    for (const event of data.events) panel.append(section(event.title, event.attributes.length ? event.attributes : [["", ""]]));
    for (const link of data.links) panel.append(section(link.title, link.attributes));
    panel.append(section("Resource", resources[data.resource]));
    row.append(panel);
    row.classList.add("open");
  }

  function refresh() {
    let hiddenBelow = Infinity;
    rows.forEach((row, index) => {
      if (depth[index] > hiddenBelow) {
        row.hidden = true;
        return;
      }
      row.hidden = false;
      hiddenBelow = row.classList.contains("shut") ? depth[index] : Infinity;
    });
  }

  function isParent(index) {
    return index + 1 < rows.length && depth[index + 1] > depth[index];
  }

  function setShut(index, shut) {
    if (!isParent(index)) return;
    rows[index].classList.toggle("shut", shut);
    rows[index].setAttribute("aria-expanded", String(!shut));
  }

  function reveal(index) {
    for (let above = index - 1, level = depth[index]; above >= 0 && level > 1; above--) {
      if (depth[above] < level) {
        level = depth[above];
        setShut(above, false);
      }
    }
    refresh();
    rows[index].scrollIntoView({ block: "center" });
    rows[index].focus({ preventScroll: true });
  }

  byId("rows").addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row || event.target.closest(".detail")) return;
    const index = rows.indexOf(row);
    if (event.target.closest(".caret")) {
      setShut(index, !row.classList.contains("shut"));
      refresh();
    } else if (!String(getSelection())) {
      toggleDetail(index);
    }
  });

  function step(index, by) {
    do index += by; while (rows[index] && rows[index].hidden);
    if (rows[index]) rows[index].focus();
  }

  byId("rows").addEventListener("keydown", (event) => {
    const index = rows.indexOf(event.target);
    if (index < 0) return;
    if (event.key === "ArrowDown") step(index, 1);
    else if (event.key === "ArrowUp") step(index, -1);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      setShut(index, event.key === "ArrowLeft");
      refresh();
    } else if (event.key === "Enter" || event.key === " ") toggleDetail(index);
    else return;
    event.preventDefault();
  });

  function setAll(shut) {
    rows.forEach((row, index) => setShut(index, shut && depth[index] > 1));
    refresh();
  }
  byId("collapse").addEventListener("click", () => setAll(true));
  byId("expand").addEventListener("click", () => setAll(false));

  let matches = [];
  let current = -1;
  byId("find").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    current = -1;
    matches = [];
    rows.forEach((row, index) => {
      const hit = wanted && row.firstElementChild.textContent.toLowerCase().includes(wanted);
      if (hit) matches.push(index);
      row.classList.toggle("dim", Boolean(wanted) && !hit);
    });
    byId("found").textContent = wanted ? matches.length + " found" : "";
  });
  byId("find").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !matches.length) return;
    current = (current + 1) % matches.length;
    reveal(matches[current]);
    event.target.focus({ preventScroll: true });
    byId("found").textContent = (current + 1) + " of " + matches.length;
  });

  const failed = rows.flatMap((row, index) => (row.matches(".err") ? [index] : []));
  let error = -1;
  byId("errors").addEventListener("click", () => {
    error = (error + 1) % failed.length;
    reveal(failed[error]);
  });

  function drawMap() {
    const canvas = byId("map");
    const scale = window.devicePixelRatio || 1;
    const width = (canvas.width = canvas.clientWidth * scale);
    const height = (canvas.height = canvas.clientHeight * scale);
    const paint = canvas.getContext("2d");
    const step = (height - 6 * scale) / rows.length;
    rows.forEach((row, index) => {
      const bar = row.querySelector(".bar");
      if (!bar) return;
      const style = row.style;
      paint.fillStyle = getComputedStyle(row).getPropertyValue("--c");
      const left = (parseFloat(style.getPropertyValue("--l")) / 100) * width;
      const length = Math.max(scale, (parseFloat(style.getPropertyValue("--w")) / 100) * width);
      paint.fillRect(left, 3 * scale + index * step, length, Math.max(scale, Math.min(step * 0.8, 3 * scale)));
    });
  }
  drawMap();
  window.addEventListener("resize", drawMap);
})();
