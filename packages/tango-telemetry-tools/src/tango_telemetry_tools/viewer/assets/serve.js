"use strict";
// The page of many traces. Everything that came out of a span is set with textContent, so that it stays text.
(() => {
  const { element, duration, mount } = TraceView;
  const app = document.getElementById("app");
  const live = document.getElementById("live");
  const filters = { text: "", device: "", operation: "", class: "", service: "", min: "", since: "", errors: false, all: false };
  let sort = "start";
  let by = "";
  let view = null;
  let changes = -1;
  let refresh = () => {};

  async function ask(path, parameters) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(parameters || {})) if (value) query.set(name, value === true ? "on" : value);
    const answer = await fetch("/api/" + path + (String(query) ? "?" + query : ""));
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error || answer.statusText);
    return found;
  }

  function cells(body, values) {
    const line = body.insertRow();
    for (const value of values) {
      const cell = line.insertCell();
      const [content, className] = Array.isArray(value) ? value : [value];
      if (className) cell.className = className;
      if (content instanceof Node) cell.append(content);
      else { cell.textContent = content; cell.title = content; }
    }
    return line;
  }

  function table(headings, sorts) {
    const node = element("table");
    const head = node.createTHead().insertRow();
    headings.forEach(([text, className], number) => {
      const cell = head.appendChild(element("th", className || ""));
      const key = sorts && sorts[number];
      if (!key) { cell.textContent = text; return; }
      const button = element("button", "", text + (sort === key ? " ↓" : ""), { type: "button" });
      button.addEventListener("click", () => { sort = key; refresh(); });
      cell.append(button);
    });
    return [node, node.createTBody()];
  }

  function filterBar(names, changed) {
    const bar = element("form", "filters");
    bar.addEventListener("submit", (event) => event.preventDefault());
    for (const name of names) {
      const label = { text: "any text ( / )", min: "at least, 50ms", since: "since, 10m" }[name] || name;
      const input = element("input", "", undefined, { placeholder: label, "aria-label": label, name, id: "filter-" + name });
      if (typeof filters[name] === "boolean") {
        input.type = "checkbox";
        input.checked = filters[name];
        const box = element("label", "");
        box.append(input, name === "errors" ? " errors only" : " connects and polled reads too");
        input.addEventListener("change", () => { filters[name] = input.checked; changed(); });
        bar.append(box);
        continue;
      }
      input.value = filters[name];
      let waiting = 0;
      input.addEventListener("input", () => {
        clearTimeout(waiting);
        waiting = setTimeout(() => { filters[name] = input.value.trim(); changed(); }, 200);
      });
      bar.append(input);
    }
    return bar;
  }

  function problem(place, error) {
    place.replaceChildren(element("p", "note", error.message));
  }

  function showTraces() {
    document.title = "Traces";
    const list = element("div", "list", undefined, { id: "traces" });
    const histogram = element("div", "histogram", undefined, { id: "histogram", "aria-label": "traces by duration" });
    const scale = element("div", "scale");
    const state = element("p", "note filters", "", { id: "state" });
    let asked = 0;
    refresh = async () => {
      const turn = ++asked;
      try {
        const [found, counts] = await Promise.all([ask("traces", { ...filters, sort }), ask("histogram", filters)]);
        if (turn !== asked || !list.isConnected) return;
        const most = Math.max(1, ...counts.map(([, count]) => count));
        histogram.replaceChildren(...counts.map(([from, count, bad]) => {
          const bar = element("button", "", undefined, { type: "button", title: count + " traces of " + duration(from) + " and more, " + bad + " with errors" });
          bar.style.height = Math.max(4, (100 * count) / most) + "%";
          if (bad) bar.style.background = "var(--error)";
          bar.addEventListener("click", () => { filters.min = from + "ns"; document.getElementById("filter-min").value = filters.min; refresh(); });
          return bar;
        }));
        scale.replaceChildren(...(counts.length ? [element("span", "", duration(counts[0][0])), element("span", "", duration(2 * counts[counts.length - 1][0]))] : []));
        state.textContent = found.traces.length + " of " + found.total + " traces" + (found.folded ? "; " + found.folded + " of connects, inits and polled reads are not shown" : "") + (found.total || found.folded ? "" : ". Set TANGO_TELEMETRY_ENABLE=on, TANGO_TELEMETRY_TRACES_EXPORTER=http and TANGO_TELEMETRY_TRACES_ENDPOINT=" + location.origin + "/v1/traces, and run a program.");
        const [node, body] = table([["started"], ["device"], ["operation"], ["services"], ["spans", "number"], ["errors", "number"], ["duration", "number"]], ["start", , , , "spans", "errors", "duration"]);
        for (const trace of found.traces) {
          cells(body, [
            new Date(trace.start_ns / 1e6).toLocaleString(), trace.device,
            element("a", "", trace.name || "(no name)", { href: "#" + trace.trace_id }), trace.services.join(", "),
            [String(trace.spans), "number"], [String(trace.errors), trace.errors ? "number bad" : "number"], [duration(trace.duration_ns), "number"],
          ]);
        }
        list.replaceChildren(node);
      } catch (error) {
        if (turn === asked) problem(list, error);
      }
    };
    app.replaceChildren(filterBar(["text", "device", "operation", "class", "service", "min", "since", "errors", "all"], () => refresh()), histogram, scale, state, list);
    refresh();
  }

  function choice(names, current, changed) {
    const select = element("select", "", undefined, { "aria-label": "by", id: "by" });
    for (const [value, text] of names) {
      const option = element("option", "", text, { value });
      option.selected = value === current;
      select.append(option);
    }
    select.addEventListener("change", () => changed(select.value));
    return select;
  }

  function showTop() {
    document.title = "Top";
    const list = element("div", "list", undefined, { id: "top" });
    const bar = filterBar(["device", "operation", "class", "service", "min", "since", "errors", "all"], () => refresh());
    bar.prepend(choice([["", "by device and operation"], ["device", "by device"], ["class", "by class"], ["operation", "by operation"], ["caller", "by caller"]], by, (value) => { by = value; refresh(); }));
    refresh = async () => {
      try {
        const rows = await ask("top", { ...filters, text: "", by, n: "500" });
        const names = { "": ["device", "operation"], caller: ["caller", "device", "operation"] }[by] || [by];
        const [node, body] = table([...names.map((name) => [name]), ...["count", "errors", "p50", "p95", "longest", "share"].map((name) => [name, "number"])]);
        for (const row of rows) {
          cells(body, [...row.key, [String(row.count), "number"], [String(row.errors), row.errors ? "number bad" : "number"],
            ...[row.p50, row.p95, row.longest].map((time) => [duration(time), "number"]), [(100 * row.share).toFixed(1) + " %", "number"]]);
        }
        list.replaceChildren(node);
      } catch (error) {
        problem(list, error);
      }
    };
    app.replaceChildren(bar, list);
    refresh();
  }

  function showMap() {
    document.title = "Map";
    let kind = "device";
    const picture = element("img", "", undefined, { alt: "who calls whom", id: "picture" });
    const frame = element("div", "picture");
    frame.append(picture);
    const list = element("div", "list");
    const bar = filterBar(["device", "operation", "service", "since", "all"], () => refresh());
    bar.prepend(choice([["device", "by device"], ["class", "by class"]], kind, (value) => { kind = value; refresh(); }));
    refresh = async () => {
      try {
        const wanted = { device: filters.device, operation: filters.operation, service: filters.service, since: filters.since, all: filters.all ? "on" : "", by: kind };
        const found = await ask("map", wanted);
        const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
        query.set("changes", changes);
        picture.src = "/api/map.svg?" + query;
        const [node, body] = table([["caller"], ["callee"], ["what"], ["count", "number"], ["errors", "number"], ["p95", "number"]]);
        for (const edge of found.edges) {
          cells(body, [edge.caller, [edge.callee || "(nobody)", edge.callee ? "" : "bad"], edge.event ? "events" : "calls", [String(edge.calls), "number"],
            [String(edge.errors), edge.errors ? "number bad" : "number"], [edge.event ? "" : duration(edge.p95), "number"]]);
        }
        list.replaceChildren(node);
      } catch (error) {
        problem(list, error);
      }
    };
    app.replaceChildren(bar, frame, list);
    refresh();
  }

  async function showTrace(trace) {
    let spans = -1;
    refresh = async () => {
      try {
        const [data, linkedFrom] = await Promise.all([ask("traces/" + trace), ask("traces/" + trace + "/links")]);
        // Drawn anew only when there is more of it: what is open stays open.
        if (data.rows.length === spans || location.hash.slice(1, 33) !== trace) return;
        spans = data.rows.length;
        if (view) view.unmount();
        view = mount(app, data, { linkedFrom });
      } catch (error) {
        problem(app, error);
      }
    };
    await refresh();
  }

  function route() {
    const hash = location.hash;
    if (view && view.follow(hash)) return;
    if (view) view.unmount();
    view = null;
    const trace = /^#([0-9a-f]{32})/.exec(hash);
    const name = trace ? "traces" : hash.slice(1) || "traces";
    for (const link of document.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === "#" + name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    app.classList.toggle("flow", !trace);
    document.body.classList.toggle("one", Boolean(trace));
    app.replaceChildren();
    if (trace) showTrace(trace[1]);
    else if (name === "top") showTop();
    else if (name === "map") showMap();
    else showTraces();
  }

  async function watch() {
    try {
      const found = await ask("state");
      live.textContent = "live";
      if (found.changes !== changes) {
        changes = found.changes;
        await refresh();
      }
    } catch {
      live.textContent = "the server is away";
    }
    setTimeout(watch, 700);
  }

  addEventListener("keydown", (event) => {
    if (event.key !== "/" || view || event.target.closest("input")) return;
    const first = app.querySelector(".filters input");
    if (first) { event.preventDefault(); first.focus(); }
  });
  addEventListener("hashchange", route);
  route();
  watch();
})();
