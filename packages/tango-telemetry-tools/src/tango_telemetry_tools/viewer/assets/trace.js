"use strict";
// One trace, drawn from its data. Everything that came out of a span is set with textContent, so that it stays text.
const TraceView = (() => {
  const FOLD = 4;
  const UNITS = [[3600e9, "h"], [60e9, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

  // As in the terminal: what cannot be printed or turns the writing direction becomes a replacement character.
  const HARMFUL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;
  const visible = (text) => String(text).replace(HARMFUL, "\ufffd");

  function element(tag, className, text, attributes) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = visible(text);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    return node;
  }

  function duration(ns) {
    const [size, unit] = UNITS.find(([size]) => ns >= size) || [1, "ns"];
    const number = ns / size;
    return number.toFixed(size === 1 || number >= 100 ? 0 : number >= 10 ? 1 : 2) + " " + unit;
  }

  function copyButton(text, title) {
    const button = element("button", "copy", "copy", { type: "button", title });
    button.addEventListener("click", async (event) => {
      event.stopPropagation();
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        // A page opened from a file may not use the clipboard's interface in every browser.
        const field = document.body.appendChild(element("textarea"));
        field.value = text;
        field.select();
        document.execCommand("copy");
        field.remove();
      }
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1200);
    });
    return button;
  }

  function mount(root, data, options) {
    // What listens to the window would keep this trace's data alive after another one has taken its place.
    const mounted = new AbortController();
    const listen = (name, act) => addEventListener(name, act, { signal: mounted.signal });
    // On a phone a row has two lines: the name, and the device with the reason of an error.
    const rowHeight = () => (innerWidth < 760 ? 42 : 28);
    let ROW = rowHeight();
    const rows = data.rows;
    const total = Math.max(1, data.duration);
    const parent = new Int32Array(rows.length).fill(-1);
    const failed = new Int32Array(rows.length);
    const shut = new Uint8Array(rows.length);
    const opened = new Set();
    const children = rows.map(() => []);
    const tops = [];
    const byId = new Map();
    const hiddenServices = new Set();
    const above = [];
    rows.forEach((row, index) => {
      above.length = row.d;
      if (row.d) {
        parent[index] = above[row.d - 1];
        children[parent[index]].push(index);
      } else tops.push(index);
      above[row.d] = index;
      if (row.id) byId.set(row.id, index);
    });
    // One failure is told by several spans; it counts where it began.
    const origins = rows.flatMap((row, index) =>
      row.err && !children[index].some((child) => rows[child].err && rows[child].why === row.why) ? [index] : []);
    const began = new Set(origins);
    for (let index = rows.length - 1; index >= 0; index--) {
      if (parent[index] >= 0) failed[parent[index]] += failed[index] + (began.has(index) ? 1 : 0);
    }

    // The parts of a span's time that its children took, and the path that the end of the trace waited for.
    function inChildren(index) {
      const row = rows[index];
      const parts = [];
      let reached = row.s;
      for (const child of children[index]) {
        const begin = Math.max(reached, rows[child].s);
        const end = Math.min(row.s + row.t, rows[child].s + rows[child].t);
        if (end <= begin) continue;
        if (parts.length && begin === reached) parts[parts.length - 1][1] = end;
        else parts.push([begin, end]);
        reached = end;
      }
      return parts;
    }
    function selfTime(index) {
      return rows[index].t - inChildren(index).reduce((sum, [begin, end]) => sum + end - begin, 0);
    }
    // Full colour where the span itself was busy, lighter where it waited for its children.
    function paintSelf(bar, index) {
      const row = rows[index];
      const parts = inChildren(index);
      if (!parts.length || parts.length > 40 || !row.t) return;
      const light = "color-mix(in srgb, var(--c) 50%, var(--ground))";
      const stops = [];
      let end = 0;
      for (const [begin, stop] of parts) {
        const [left, right] = [begin, stop].map((time) => (100 * (time - row.s)) / row.t);
        stops.push("var(--c) " + end + "% " + left + "%", light + " " + left + "% " + right + "%");
        end = right;
      }
      bar.style.background = "linear-gradient(90deg, " + stops.join(", ") + ", var(--c) " + end + "% 100%)";
    }
    const critical = new Uint8Array(rows.length);
    {
      const stack = [];
      const longest = tops.filter((top) => rows[top].id).sort((a, b) => rows[b].t - rows[a].t)[0];
      if (longest !== undefined) stack.push([longest, rows[longest].s + rows[longest].t]);
      while (stack.length) {
        const [index, until] = stack.pop();
        critical[index] = 1;
        let limit = until;
        const late = children[index].filter((child) => rows[child].id)
          .sort((a, b) => rows[b].s + rows[b].t - rows[a].s - rows[a].t);
        for (const child of late) {
          const end = rows[child].s + rows[child].t;
          if (end <= limit && rows[child].t > 0) { stack.push([child, end]); limit = rows[child].s; }
        }
      }
    }

    // Equal siblings side by side become one row, unless something in them failed.
    const signature = new Array(rows.length).fill(0);
    {
      const known = new Map();
      for (let index = rows.length - 1; index >= 0; index--) {
        const row = rows[index];
        if (!row.id || row.err || failed[index]) continue;
        const key = JSON.stringify([row.name, row.svc, row.dev, children[index].map((child) => signature[child])]);
        if (!known.has(key)) known.set(key, known.size + 1);
        signature[index] = known.get(key);
      }
    }
    let folding = true;

    // -- the page --
    root.textContent = "";
    const find = element("input", "find", undefined, { type: "search", id: "find", placeholder: "Find: name, attribute, error, log  ( / )", "aria-label": "Find spans", autocomplete: "off", spellcheck: "false" });
    const found = element("output", "", undefined, { id: "found" });
    const previous = element("button", "only-errors", "‹", { type: "button", id: "previous", title: "previous error (p)", "aria-label": "previous error" });
    const next = element("button", "only-errors", "Next error ›", { type: "button", id: "next", title: "next error (n)" });
    const place = element("output", "", undefined, { id: "place" });
    const collapse = element("button", "", "Collapse all", { type: "button", id: "collapse" });
    const expand = element("button", "", "Expand all", { type: "button", id: "expand" });
    const zoomOut = element("button", "", "Whole time", { type: "button", id: "reset", title: "double click" });
    zoomOut.hidden = true;
    previous.hidden = next.hidden = !origins.length;
    place.textContent = origins.length ? origins.length + (origins.length === 1 ? " error" : " errors") : "";
    const help = element("button", "", "?", { type: "button", id: "help", title: "keys" });

    const header = element("header");
    const head = element("div", "head");
    const first = rows.find((row) => row.id);
    const title = element("h1");
    if (first) {
      const service = element("span", "service", data.services[first.svc].name);
      service.style.setProperty("--c", data.services[first.svc].colour);
      title.append(service, " " + first.name);
      document.title = data.services[first.svc].name + ": " + first.name;
    }
    head.append(title, element("span", "id", data.trace), copyButton(data.trace, "copy the trace id"));
    const facts = element("dl", "facts");
    for (const [name, value, bad] of data.facts) {
      const pair = element("div", bad ? "bad" : "");
      pair.append(element("dt", "", name), element("dd", "", value));
      facts.append(pair);
    }
    const legend = element("div", "legend");
    data.services.forEach((service, number) => {
      const entry = element("button", "", undefined, { type: "button", title: "show or hide this service", "aria-pressed": "true" });
      entry.style.setProperty("--c", service.colour);
      entry.append(element("i"), service.name, element("em", "", String(service.spans)));
      entry.addEventListener("click", () => {
        const off = !hiddenServices.delete(number);
        if (off) hiddenServices.add(number);
        entry.setAttribute("aria-pressed", String(!off));
        draw();
        drawMap();
      });
      legend.append(entry);
    });
    header.append(head, facts, legend);
    for (const note of data.notes) header.append(element("p", "note", note));
    if ((data.loose || []).length) {
      const loose = element("button", "", data.loose.length + " log records of spans that are not here", { type: "button", id: "loose" });
      loose.addEventListener("click", () => {
        detail.replaceChildren(detailHead("Log records"), logTable(data.loose));
        openDetail();
      });
      header.append(loose);
    }

    const sticky = element("div", "sticky");
    const tools = element("div", "tools");
    tools.append(find, found, previous, next, place, element("span", "space"), zoomOut, collapse, expand, help);
    const map = element("canvas", "", undefined, { id: "map", title: "drag to zoom in time, double click for all" });
    const axis = element("div", "axis");
    const ticks = element("div", "time");
    axis.append(element("div", "tree", "Operation and device"), ticks);
    sticky.append(tools, map, axis);

    const main = element("main", "rows", undefined, { id: "rows", role: "tree", "aria-label": "Spans", tabindex: "0" });
    const canvas = element("div", "window");
    main.append(canvas);
    const detail = element("aside", "detail", undefined, { id: "detail", "aria-label": "Span" });
    detail.hidden = true;
    const dialog = element("dialog", "help");
    dialog.append(element("h2", "", "Keys"));
    const keys = element("table");
    for (const [key, what] of [["/", "find"], ["Enter", "next found, or details of the row"], ["n p", "next, previous error"], ["↑ ↓ j k", "move"], ["← →", "close, open a row"], ["Escape", "close the details, whole time"], ["drag", "on the bars or the map: zoom in time"], ["?", "these keys"], ["full colour", "the span itself was busy; lighter: it waited for those below it"], ["underlined bar", "critical path: the end of the trace waited for this"], ["→ ←", "links: what came of this span, what it came of"]]) {
      const line = keys.insertRow();
      line.insertCell().textContent = key;
      line.insertCell().textContent = what;
    }
    dialog.append(keys);
    const close = element("button", "", "Close", { type: "button" });
    close.addEventListener("click", () => dialog.close());
    dialog.append(close);
    root.append(header, sticky, main, detail, dialog);

    // -- which rows are visible --
    let lines = [];
    let position = new Map();
    function layout() {
      lines = [];
      const stack = [[tops, 0, 0]];
      while (stack.length) {
        const frame = stack[stack.length - 1];
        const [siblings, at] = frame;
        if (at >= siblings.length) { stack.pop(); continue; }
        const index = siblings[at];
        let count = 1;
        if (folding && at >= frame[2] && parent[index] >= 0 && signature[index]) {
          while (at + count < siblings.length && signature[siblings[at + count]] === signature[index]) count++;
        }
        const run = count >= FOLD ? siblings[at] : -1;
        if (run >= 0 && !opened.has(run)) {
          lines.push({ index, group: siblings.slice(at, at + count) });
          frame[1] += count;
          continue;
        }
        // All of an opened run is shown, not a shorter run behind its first.
        if (run >= 0) frame[2] = at + count;
        lines.push({ index });
        frame[1]++;
        if (!shut[index] && children[index].length) stack.push([children[index], 0, 0]);
      }
      position = new Map();
      lines.forEach((line, number) => { for (const index of line.group || [line.index]) position.set(index, number); });
      canvas.style.height = lines.length * ROW + "px";
      draw();
    }

    // -- drawing --
    let from = 0;
    let to = total;
    let current = -1;
    let matches = [];
    let matched = null;
    const percent = (time) => (100 * (time - from)) / (to - from);

    function drawLine(line, number) {
      const index = line.index;
      const row = rows[index];
      const node = element("div", "row", undefined, { role: "treeitem", "aria-level": row.d + 1, "data-row": index, id: "row" + index });
      node.style.top = number * ROW + "px";
      const service = data.services[row.svc];
      if (service) node.style.setProperty("--c", service.colour);
      if (row.err) node.classList.add("err");
      if (critical[index] && !line.group) node.classList.add("critical");
      if (index === current) { node.classList.add("current"); node.setAttribute("aria-selected", "true"); }
      if ((matched && !(line.group || [index]).some((member) => matched.has(member))) || hiddenServices.has(row.svc)) node.classList.add("dim");
      const tree = element("div", "tree");
      const guides = element("span", "guides");
      guides.style.width = Math.min(row.d, 40) * (innerWidth < 760 ? 8 : 16) + "px";
      const caret = element("button", "caret", undefined, { type: "button", tabindex: "-1", "aria-label": "open or close" });
      if (!children[index].length && !line.group) caret.classList.add("leaf");
      if (shut[index] || line.group) node.classList.add("shut");
      if (children[index].length) node.setAttribute("aria-expanded", String(!shut[index] && !line.group));
      const name = element("span", "name", row.id ? row.name || "(no name)" : "missing parent " + row.missing, { title: row.name || "" });
      if (!row.id) node.classList.add("missing");
      const label = element("div", "label");
      const above = element("div", "first");
      const below = element("div", "second");
      label.append(above, below);
      tree.append(guides, caret, element("span", "mark"), label);
      if (line.group) above.append(element("span", "times", line.group.length + " ×"));
      above.append(name);
      if (row.dev) {
        const device = element("span", "device", undefined, { title: visible(row.dev) });
        device.append(element("bdi", "", row.dev));
        below.append(device);
      }
      if (shut[index] && !line.group) {
        below.append(element("span", "hidden-count", "+" + row.n));
        if (failed[index]) below.append(element("span", "bad-count", String(failed[index]), { title: "errors below" }));
      }
      if (row.from) below.append(element("span", "badge", "→ " + row.from.length, { title: describeLinks(row.from) }));
      if (row.links) below.append(element("span", "badge", "←", { title: describeLinks(row.links) }));
      if (row.logs) below.append(element("span", row.logs.some((log) => log.bad) ? "badge bad" : "badge", row.logs.length + (row.logs.length === 1 ? " log" : " logs")));
      if (row.err && row.why) below.append(element("span", "why", row.why, { title: row.why }));
      const time = element("div", "time");
      if (row.id) {
        const end = line.group ? Math.max(...line.group.map((member) => rows[member].s + rows[member].t)) : row.s + row.t;
        const left = Math.max(-1, percent(row.s));
        const width = Math.min(101, percent(end)) - left;
        if (left < 100 && left + width >= 0) {
          const bar = element("span", "bar");
          bar.style.left = left + "%";
          bar.style.width = Math.max(0, width) + "%";
          if (!line.group) paintSelf(bar, index);
          time.append(bar);
        }
        let text = duration(row.t);
        if (line.group) {
          const times = line.group.map((member) => rows[member].t);
          text = duration(times.reduce((a, b) => a + b, 0)) + ", longest " + duration(Math.max(...times));
        }
        const label = element("span", "dur", text);
        const right = left + Math.max(0, width);
        if (right < 80) label.style.left = "calc(" + Math.max(0, right) + "% + 8px)";
        else if (left > 20) label.style.right = "calc(" + Math.max(0, 100 - left) + "% + 8px)";
        else { label.style.left = Math.max(0, left) + "%"; label.classList.add("inside"); }
        time.append(label);
      }
      for (const log of (row.logs || []).slice(0, 200)) {
        const left = percent(log.at);
        if (left < 0 || left > 100) continue;
        const tick = element("span", log.bad ? "tick bad" : "tick", undefined, { title: log.level + " " + log.text.slice(0, 200) });
        tick.style.left = left + "%";
        time.append(tick);
      }
      node.append(tree, time);
      return node;
    }

    // Only what can be seen is in the document: a hundred thousand rows cost no more than forty.
    function draw() {
      const top = Math.max(0, Math.floor(main.scrollTop / ROW) - 6);
      const bottom = Math.min(lines.length, Math.ceil((main.scrollTop + main.clientHeight) / ROW) + 6);
      canvas.replaceChildren(...lines.slice(top, bottom).map((line, offset) => drawLine(line, top + offset)));
      if (current >= 0) main.setAttribute("aria-activedescendant", "row" + current);
    }

    function drawAxis() {
      const parts = innerWidth < 760 ? 2 : 4;
      ticks.replaceChildren(...Array.from({ length: parts + 1 }, (_, number) => {
        const moment = from + ((to - from) * number) / parts;
        const tick = element("span", "", moment ? duration(moment) : "0");
        tick.style.left = (100 * number) / parts + "%";
        return tick;
      }));
      zoomOut.hidden = from === 0 && to === total;
    }

    function drawMap() {
      const scale = devicePixelRatio || 1;
      const width = (map.width = map.clientWidth * scale);
      const height = (map.height = map.clientHeight * scale);
      const paint = map.getContext("2d");
      const deepest = Math.max(1, ...data.depths);
      const step = (height - 6 * scale) / deepest;
      // By depth, not by row: a long trace stays a picture.
      rows.forEach((row) => {
        if (!row.id || hiddenServices.has(row.svc)) return;
        paint.fillStyle = row.err ? "#e5484d" : data.services[row.svc].colour;
        paint.fillRect((row.s / total) * width, 3 * scale + Math.min(row.d, deepest - 1) * step, Math.max(scale, (row.t / total) * width), Math.max(scale, step * 0.8));
      });
      paint.fillStyle = "rgba(128, 136, 150, .35)";
      paint.fillRect(0, 0, (from / total) * width, height);
      paint.fillRect((to / total) * width, 0, width, height);
    }

    function zoom(begin, end) {
      const least = Math.max(1, total / 1e7);
      from = Math.max(0, Math.min(begin, total - least));
      to = Math.min(total, Math.max(end, from + least));
      drawAxis();
      drawMap();
      draw();
    }

    // -- drag to zoom: on the map over all of the time, on the bars over what is seen --
    function draggable(area, bounds, moment) {
      let begin = null;
      const shade = element("div", "shade");
      const ends = (event) => Math.max(bounds().left, Math.min(event.clientX, bounds().right));
      area.addEventListener("pointerdown", (event) => {
        if (event.button || event.pointerType === "touch" || event.clientX < bounds().left || event.clientX > bounds().right) return;
        begin = ends(event);
      });
      listen("pointermove", (event) => {
        if (begin === null) return;
        const end = ends(event);
        if (Math.abs(end - begin) < 4) return;
        event.preventDefault();
        document.body.classList.add("dragging");
        document.body.append(shade);
        const box = area.getBoundingClientRect();
        Object.assign(shade.style, { left: Math.min(begin, end) + "px", width: Math.abs(end - begin) + "px", top: box.top + "px", height: box.height + "px" });
      });
      listen("pointerup", (event) => {
        if (begin === null) return;
        const end = ends(event);
        const start = begin;
        begin = null;
        shade.remove();
        setTimeout(() => document.body.classList.remove("dragging"));
        if (Math.abs(end - start) >= 4) zoom(moment(Math.min(start, end)), moment(Math.max(start, end)));
      });
      area.addEventListener("dblclick", (event) => { if (event.clientX >= bounds().left) zoom(0, total); });
    }
    const mapBox = () => map.getBoundingClientRect();
    draggable(map, mapBox, (x) => (total * (x - mapBox().left)) / mapBox().width);
    const barBox = () => ticks.getBoundingClientRect();
    draggable(main, barBox, (x) => from + ((to - from) * (x - barBox().left)) / barBox().width);
    zoomOut.addEventListener("click", () => zoom(0, total));

    // -- one span --
    function table(name, pairs) {
      const block = element("section");
      block.append(element("h2", "", name));
      const body = element("table");
      for (const [key, value] of pairs) {
        const line = body.insertRow();
        line.insertCell().textContent = visible(key);
        const cell = line.insertCell();
        if (value instanceof Node) cell.append(value);
        else cell.textContent = visible(typeof value === "string" ? value : JSON.stringify(value));
      }
      block.append(body);
      return block;
    }

    function link(trace, span, text) {
      return element("a", "", text, { href: "#" + trace + (span ? "/" + span : "") });
    }

    function detailHead(title) {
      const bar = element("div", "detail-head");
      const shutButton = element("button", "", "✕", { type: "button", "aria-label": "close", id: "close-detail" });
      shutButton.addEventListener("click", hideDetail);
      bar.append(element("strong", "", title), shutButton);
      return bar;
    }

    function linkText(item) {
      return (item.name || "span " + item.span + ", which is not here") + (item.trace === data.trace ? "" : " (trace " + item.trace.slice(0, 8) + ")");
    }

    function describeLinks(items) {
      const lines = items.slice(0, 12).map((item) => item.word + " " + linkText(item));
      if (items.length > lines.length) lines.push("and " + (items.length - lines.length) + " more");
      return lines.join("\n");
    }

    function logTable(logs) {
      const block = element("section", "logs");
      block.append(element("h2", "", "Logs"));
      const body = element("table");
      for (const log of logs) {
        const line = body.insertRow();
        if (log.bad) line.className = "bad";
        line.insertCell().textContent = (log.at < 0 ? "-" : "+") + duration(Math.abs(log.at)) + " " + log.level;
        const cell = line.insertCell();
        cell.textContent = visible(log.text);
        if (log.attrs.length) {
          const more = element("details");
          more.append(element("summary", "", log.scope || "attributes"), table("", log.attrs));
          cell.append(more);
        }
      }
      block.append(body);
      return block;
    }

    function showDetail(index) {
      const row = rows[index];
      detail.replaceChildren();
      if (!row.id) { hideDetail(); return; }
      openDetail();
      detail.append(detailHead(row.name));
      if (row.err) detail.append(element("p", "reason", row.text || row.why));
      const permalink = location.href.split("#")[0] + "#" + data.trace + "/" + row.id;
      const ids = element("div", "buttons");
      ids.append("span " + row.id + " ", copyButton(row.id, "copy the span id"), " link ", copyButton(permalink, "copy a link to this span"));
      detail.append(ids);
      const about = [["service", data.services[row.svc].name], ["device", row.dev], ["kind", row.kind], ["start", "+" + duration(row.s)], ["duration", duration(row.t)], ["self time", duration(selfTime(index))]];
      if (critical[index]) about.push(["critical path", "yes: the end waited for this"]);
      if (row.parent) about.push(["parent", byId.has(row.parent) ? link(data.trace, row.parent, row.parent) : row.parent + " (not there)"]);
      if (row.scope) about.push(["scope", row.scope]);
      if (row.state) about.push(["trace state", row.state]);
      detail.append(table("Span", about.filter((pair) => pair[1])));
      if (row.logs) detail.append(logTable(row.logs));
      for (const item of row.links || []) detail.append(table("Link", [["← " + item.word, link(item.trace, item.span, linkText(item))], ["trace / span", item.trace + " / " + item.span], ...item.attrs]));
      if (row.from) detail.append(table("Linked from", row.from.map((item) => ["→ " + item.word, link(item.trace, item.span, linkText(item))])));
      if (row.attrs.length) detail.append(table("Attributes", row.attrs));
      for (const event of row.events || []) detail.append(table("Event " + event.name + " at +" + duration(event.at), event.attrs));
      const more = element("details");
      more.append(element("summary", "", "Resource"), table("", data.resources[row.res]));
      detail.append(more);
      detail.scrollTop = 0;
    }

    // Beside the rows, not over them, where there is room.
    function openDetail() {
      if (!detail.hidden) return;
      detail.hidden = false;
      root.classList.add("with-detail");
      resize();
    }

    function hideDetail() {
      if (!detail.hidden) {
        detail.hidden = true;
        root.classList.remove("with-detail");
        resize();
      }
      main.focus({ preventScroll: true });
    }

    function reveal(index) {
      for (let up = parent[index]; up >= 0; up = parent[up]) shut[up] = 0;
      if (folding && !position.has(index)) layout();
      if (!position.has(index)) { folding = false; layout(); }
      layout();
      select(index);
      main.scrollTop = Math.max(0, position.get(index) * ROW - main.clientHeight / 2);
      const row = rows[index];
      if (row.s > to || row.s + row.t < from) zoom(0, total);
      draw();
    }

    function select(index) {
      current = index;
      if (rows[index].id) history.replaceState(null, "", "#" + data.trace + "/" + rows[index].id);
    }

    function toggle(index, state) {
      const line = lines[position.get(index)];
      if (line.group && state !== true) opened.add(line.index);
      else if (children[index].length) shut[index] = state === undefined ? (shut[index] ? 0 : 1) : state ? 1 : 0;
      layout();
    }

    main.addEventListener("scroll", draw, { passive: true });
    main.addEventListener("click", (event) => {
      const node = event.target.closest(".row");
      if (!node || document.body.classList.contains("dragging")) return;
      const index = Number(node.getAttribute("data-row"));
      const group = lines[position.get(index)].group;
      if (event.target.closest(".caret") || (group && event.target.closest(".times"))) {
        toggle(index);
        return;
      }
      select(index);
      showDetail(index);
      draw();
    });

    function step(by) {
      const number = current < 0 ? -1 : position.get(current) ?? -1;
      const line = lines[Math.max(0, Math.min(lines.length - 1, number + by))];
      if (!line) return;
      select(line.index);
      const top = position.get(line.index) * ROW;
      if (top < main.scrollTop) main.scrollTop = top;
      if (top + ROW > main.scrollTop + main.clientHeight) main.scrollTop = top + ROW - main.clientHeight;
      if (!detail.hidden) showDetail(line.index);
      draw();
    }

    // -- errors and search --
    let error = -1;
    function stepError(by) {
      if (!origins.length) return;
      error = error < 0 && by < 0 ? origins.length - 1 : (error + by + origins.length) % origins.length;
      place.textContent = error + 1 + " of " + origins.length;
      reveal(origins[error]);
      if (!detail.hidden) showDetail(origins[error]);
    }
    next.addEventListener("click", () => stepError(1));
    previous.addEventListener("click", () => stepError(-1));

    let texts = null;
    let match = -1;
    function search() {
      const wanted = find.value.trim().toLowerCase();
      texts = texts || rows.map((row) => [row.name, row.dev, row.id, row.id ? data.services[row.svc].name : row.missing, row.why, row.text, JSON.stringify([row.attrs, row.events, row.links, row.from, row.logs])].join("\n").toLowerCase());
      matches = wanted ? texts.flatMap((text, index) => (text.includes(wanted) ? [index] : [])) : [];
      matched = wanted ? new Set(matches) : null;
      match = -1;
      found.textContent = wanted ? matches.length + " found" : "";
      draw();
    }
    find.addEventListener("input", search);
    find.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { find.value = ""; search(); main.focus(); }
      if (event.key !== "Enter" || !matches.length) return;
      match = (match + (event.shiftKey ? -1 : 1) + matches.length) % matches.length;
      found.textContent = match + 1 + " of " + matches.length;
      reveal(matches[match]);
    });

    collapse.addEventListener("click", () => { shut.forEach((_, index) => { shut[index] = rows[index].d > 0 && children[index].length ? 1 : 0; }); opened.clear(); folding = true; layout(); });
    expand.addEventListener("click", () => { shut.fill(0); folding = false; layout(); });
    help.addEventListener("click", () => dialog.showModal());

    const keyboard = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || !root.isConnected) return;
      if (event.target.closest("input, textarea, select")) return;
      const action = {
        "/": () => find.focus(), "?": () => dialog.showModal(), n: () => stepError(1), p: () => stepError(-1),
        ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
        ArrowLeft: () => current >= 0 && toggle(current, true), ArrowRight: () => current >= 0 && toggle(current, false),
        Escape: () => { hideDetail(); zoom(0, total); },
      }[event.key] || (event.key === "Enter" && current >= 0 && !event.target.closest("button, a, summary") ? () => showDetail(current) : null);
      if (!action) return;
      event.preventDefault();
      action();
    };
    listen("keydown", keyboard);
    const resize = () => {
      if (ROW !== rowHeight()) { ROW = rowHeight(); layout(); }
      drawAxis();
      drawMap();
      draw();
    };
    listen("resize", resize);

    function follow(hash) {
      const [, trace, span] = /^#([0-9a-f]{32})(?:\/([0-9a-f]{16}))?$/.exec(hash) || [];
      if (trace !== data.trace) return false;
      if (span && byId.has(span)) { reveal(byId.get(span)); showDetail(byId.get(span)); }
      return true;
    }

    if (options.shut) for (const id of options.shut) if (byId.has(id)) shut[byId.get(id)] = 1;
    if (options.opened) for (const id of options.opened) if (byId.has(id)) opened.add(byId.get(id));
    if (options.folding === false) folding = false;
    drawAxis();
    layout();
    drawMap();
    follow(location.hash);
    if (options.top) main.scrollTop = options.top;
    if (options.detail === false) hideDetail();
    return {
      follow,
      // What a user has opened and closed, for the same trace with more spans.
      state() {
        return {
          shut: rows.filter((row, index) => shut[index] && row.id).map((row) => row.id),
          opened: [...opened].map((index) => rows[index].id),
          folding, top: main.scrollTop, detail: !detail.hidden,
        };
      },
      unmount() { root.classList.remove("with-detail"); mounted.abort(); },
    };
  }
  return { mount, element, duration, copyButton, visible };
})();
