"use strict";
// The page of many traces. Everything that came out of a span is set with textContent, so that it stays text.
(() => {
  const { element, duration, mount, visible } = TraceView;
  const app = document.getElementById("app");
  const live = document.getElementById("live");
  const filters = { text: "", device: "", operation: "", class: "", service: "", min: "", since: "", until: "", errors: false, all: false };
  // What else the address of a page says: the order of the list, and by what top and map are grouped.
  const choices = { sort: "", by: "" };
  const MORE = 100;
  let shown = MORE;
  let page = "traces";
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

  // What is seen can be passed on: the filters stand in the address, and go along to the other pages.
  function address(name) {
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(filters)) if (value) query.set(key, value === true ? "on" : value);
    if (name === page) for (const [key, value] of Object.entries(choices)) if (value) query.set(key, value);
    return "#" + name + (String(query) ? "?" + query : "");
  }

  function noteAddress() {
    for (const link of document.querySelectorAll("nav a")) link.setAttribute("href", address(link.id.slice(4)));
    if (!view) history.replaceState(null, "", address(page));
  }

  function readAddress(text) {
    const query = new URLSearchParams(text);
    for (const name of Object.keys(filters)) filters[name] = typeof filters[name] === "boolean" ? query.get(name) === "on" : query.get(name) || "";
    for (const name of Object.keys(choices)) choices[name] = query.get(name) || "";
    shown = MORE;
  }

  function cells(body, values) {
    const line = body.insertRow();
    for (const value of values) {
      const cell = line.insertCell();
      const [content, className] = Array.isArray(value) ? value : [value];
      if (className) cell.className = className;
      if (content instanceof Node) {
        cell.append(content);
        continue;
      }
      const text = visible(content);
      cell.title = text;
      // Names are broken where their parts end, in a column that is too narrow for them.
      const parts = className ? [text] : text.split(/(?<=[/._,])/);
      parts.forEach((part, number) => cell.append(...(number ? [document.createElement("wbr"), part] : [part])));
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
      const button = element("button", "", text + ((choices.sort || sorts.first) === key ? " ↓" : ""), { type: "button" });
      button.addEventListener("click", () => { choices.sort = key; noteAddress(); refresh(); });
      cell.append(button);
    });
    return [node, node.createTBody()];
  }

  function filterBar(names, changed) {
    const bar = element("form", "filters");
    bar.addEventListener("submit", (event) => event.preventDefault());
    const changedHere = changed;
    changed = () => { shown = MORE; noteAddress(); changedHere(); };
    for (const name of names) {
      const label = { text: "any text ( / )", min: "at least, 50ms", since: "since, 10m", until: "until, 14:05" }[name] || name;
      const input = element("input", "", undefined, { placeholder: label, "aria-label": label, name, id: "filter-" + name });
      if (typeof filters[name] === "boolean") {
        input.type = "checkbox";
        input.checked = filters[name];
        const box = element("label", "");
        box.append(input, name === "errors" ? "errors only" : "connects and polled reads too");
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

  function moreButton(total, changed) {
    const button = element("button", "", "Show more", { type: "button", id: "more" });
    button.hidden = shown >= Math.min(total, 500);
    button.addEventListener("click", () => { shown = 500; changed(); });
    return button;
  }

  // To the millisecond; the date where it is not today.
  function when(milliseconds) {
    const time = new Date(milliseconds);
    const clock = time.toLocaleTimeString(undefined, { hour12: false }) + "." + String(Math.floor(milliseconds % 1000)).padStart(3, "0");
    return time.toDateString() === new Date().toDateString() ? clock : time.toLocaleDateString(undefined, { month: "short", day: "numeric" }) + " " + clock;
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
        const [found, counts] = await Promise.all([ask("traces", { ...filters, sort: choices.sort, n: String(shown) }), ask("histogram", filters)]);
        if (turn !== asked || !list.isConnected) return;
        const most = Math.max(1, ...counts.map(([, count]) => count));
        histogram.replaceChildren(...counts.map(([from, count, bad]) => {
          const bar = element("button", "", undefined, { type: "button", title: count + " traces of " + duration(from) + " and more, " + bad + " with errors" });
          bar.style.height = Math.max(4, (100 * count) / most) + "%";
          const share = (100 * bad) / count;
          if (bad) bar.style.background = "linear-gradient(0deg, var(--error) " + share + "%, var(--focus) " + share + "%)";
          bar.addEventListener("click", () => { filters.min = from + "ns"; document.getElementById("filter-min").value = filters.min; noteAddress(); refresh(); });
          return bar;
        }));
        // Where a bar begins; what has no traces has no bar, so each is named as far as there is room.
        const every = Math.ceil((counts.length * 58) / Math.max(1, histogram.clientWidth));
        scale.replaceChildren(...counts.map(([from], number) => element("span", "", number % every ? "" : duration(from))));
        state.textContent = found.traces.length + " of " + found.total + " traces" + (found.folded ? "; " + found.folded + " of connects, inits and polled reads are not shown" : "") + (found.total || found.folded ? "" : ". Set TANGO_TELEMETRY_ENABLE=on, TANGO_TELEMETRY_TRACING_EXPORTERS=http and TANGO_TELEMETRY_TRACING_ENDPOINTS=" + location.origin + "/v1/traces, and run a program.");
        const [node, body] = table([["started"], ["device"], ["operation"], ["services", "least"], ["spans", "number least"], ["errors", "number"], ["duration", "number"]], { 0: "start", 4: "spans", 5: "errors", 6: "duration", first: "start" });
        for (const trace of found.traces) {
          cells(body, [
            when(trace.start_ns / 1e6), trace.device,
            element("a", "", trace.name || "(no name)", { href: "#" + trace.trace_id }), [trace.services.join(", "), "least"],
            [String(trace.spans), "number least"], [String(trace.errors), trace.errors ? "number bad" : "number"], [duration(trace.duration_ns), "number"],
          ]);
        }
        list.replaceChildren(node, moreButton(found.total, refresh));
      } catch (error) {
        if (turn === asked) problem(list, error);
      }
    };
    app.replaceChildren(filterBar(["text", "device", "operation", "class", "service", "min", "since", "until", "errors", "all"], () => refresh()), histogram, scale, state, list);
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
    const bar = filterBar(["device", "operation", "class", "service", "min", "since", "until", "errors", "all"], () => refresh());
    bar.prepend(choice([["", "by device and operation"], ["device", "by device"], ["class", "by class"], ["operation", "by operation"], ["caller", "by caller"]], choices.by, (value) => { choices.by = value; noteAddress(); refresh(); }));
    refresh = async () => {
      try {
        const by = choices.by;
        const rows = await ask("top", { ...filters, text: "", by, n: "500", sort: choices.sort });
        const names = { "": ["device", "operation"], caller: ["caller", "device", "operation"] }[by] || [by];
        const numbers = ["count", "errors", "p50", "p95", "longest", "share"];
        const sorts = { first: "total" };
        ["count", "errors", "p50", "p95", "longest", "total"].forEach((key, number) => { sorts[names.length + number] = key; });
        const kind = (name) => (name === "p50" || name === "share" ? "number least" : "number");
        const [node, body] = table([...names.map((name) => [name]), ...numbers.map((name) => [name, kind(name)])], sorts);
        for (const row of rows) {
          cells(body, [...row.key, [String(row.count), "number"], [String(row.errors), row.errors ? "number bad" : "number"],
            ...["p50", "p95", "longest"].map((name) => [duration(row[name]), kind(name)]), [(100 * row.share).toFixed(1) + " %", kind("share")]]);
        }
        list.replaceChildren(node);
      } catch (error) {
        problem(list, error);
      }
    };
    app.replaceChildren(bar, list);
    refresh();
  }

  function showLogs() {
    document.title = "Logs";
    const state = element("p", "note filters", "", { id: "state" });
    const list = element("div", "list", undefined, { id: "logs" });
    refresh = async () => {
      try {
        const wanted = { text: filters.text, device: filters.device, service: filters.service, since: filters.since, until: filters.until, errors: filters.errors };
        const found = await ask("logs", { ...wanted, n: String(shown) });
        state.textContent = found.logs.length + " of " + found.total + " log records" + (found.total ? "" : ". Programs send them to " + location.origin + "/v1/logs.");
        const [node, body] = table([["time"], ["level"], ["device"], ["service", "least"], ["text"], ["trace"]]);
        for (const log of found.logs) {
          const trace = log.trace ? element("a", "", log.trace.slice(0, 8), { href: "#" + log.trace + (log.span ? "/" + log.span : "") }) : "";
          cells(body, [when(log.at), [log.level, log.bad ? "bad" : ""], log.device, [log.service, "least"], [log.text, "wide"], trace]);
        }
        list.replaceChildren(node, moreButton(found.total, refresh));
      } catch (error) {
        problem(list, error);
      }
    };
    app.replaceChildren(filterBar(["text", "device", "service", "since", "until", "errors"], () => refresh()), state, list);
    refresh();
  }

  // Values of a metric in its own unit; seconds as durations.
  function amount(value, unit) {
    if (value === null || value === undefined || typeof value === "string") return String(value ?? "");
    const size = { s: 1e9, ms: 1e6, us: 1e3, ns: 1 }[unit];
    return size ? duration(value * size) : String(Number(value.toPrecision(6))) + (unit && unit !== "1" ? " " + unit : "");
  }

  function bars(metric) {
    const figure = element("div", "bars");
    const most = Math.max(1, ...metric.buckets.map(([, , count]) => count));
    for (const [lower, upper, count] of metric.buckets) {
      const bar = element("span", "", undefined, { title: count + " from " + amount(lower, metric.unit) + " to " + amount(upper, metric.unit) });
      bar.style.height = Math.max(6, (100 * count) / most) + "%";
      figure.append(bar);
    }
    return figure;
  }

  function showMetrics() {
    document.title = "Metrics";
    const list = element("div", "list", undefined, { id: "metrics" });
    refresh = async () => {
      try {
        const found = await ask("metrics", { text: filters.text, class: filters.class, operation: filters.operation, service: filters.service });
        const histograms = found.filter((metric) => metric.kind === "histogram");
        const parts = [];
        if (histograms.length) {
          const [node, body] = table([["metric"], ["service"], ["class / member"], ["labels"], ["distribution"], ...["count", "errors", "mean", "p50", "p95", "longest"].map((name) => [name, "number"])]);
          for (const metric of histograms) {
            const name = element("span", "", metric.name, { title: metric.description });
            cells(body, [name, metric.source, metric.member, metric.labels, bars(metric), [String(metric.count), "number"], [String(metric.errors), metric.errors ? "number bad" : "number"],
              ...[metric.mean, metric.p50, metric.p95, metric.longest].map((value) => [amount(value, metric.unit), "number"])]);
          }
          parts.push(node);
        }
        const others = found.filter((metric) => metric.kind !== "histogram");
        if (others.length) {
          const [node, body] = table([["metric"], ["source"], ["class / member"], ["labels"], ["value", "number"]]);
          for (const metric of others) cells(body, [element("span", "", metric.name, { title: metric.description }), metric.source, metric.member, metric.labels, [amount(metric.value, metric.unit), "number"]]);
          parts.push(node);
        }
        list.replaceChildren(...(parts.length ? parts : [element("p", "note", "No metrics. Programs send them to " + location.origin + "/v1/metrics.")]));
      } catch (error) {
        problem(list, error);
      }
    };
    app.replaceChildren(filterBar(["text", "class", "operation", "service"], () => refresh()), list);
    refresh();
  }

  function showMap() {
    document.title = "Map";
    const picture = element("img", "", undefined, { alt: "who calls whom", id: "picture" });
    const frame = element("div", "picture");
    frame.append(picture);
    // A picture that is a little too wide is made to fit; of a much wider one nothing could be read.
    picture.addEventListener("load", () => { picture.classList.toggle("fit", picture.naturalWidth * 0.7 < frame.clientWidth); });
    const list = element("div", "list");
    const bar = filterBar(["device", "operation", "service", "since", "until", "all"], () => refresh());
    bar.prepend(choice([["device", "by device"], ["class", "by class"]], choices.by, (value) => { choices.by = value; noteAddress(); refresh(); }));
    refresh = async () => {
      try {
        const wanted = { device: filters.device, operation: filters.operation, service: filters.service, since: filters.since, until: filters.until, all: filters.all ? "on" : "", by: choices.by };
        const found = await ask("map", wanted);
        const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
        query.set("changes", changes);
        picture.src = "/api/map.svg?" + query;
        const [node, body] = table([["caller"], ["callee"], ["what"], ["count", "number"], ["errors", "number"], ["p95", "number"]]);
        for (const edge of found.edges) {
          cells(body, [edge.caller, [edge.callee || "(nobody)", edge.callee ? "" : "bad"], edge.event ? "event " + edge.what : "calls", [String(edge.calls), "number"],
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
    let spans = "";
    refresh = async () => {
      try {
        const data = await ask("traces/" + trace);
        // Drawn anew only when there is more of it: what is open stays open.
        const size = [data.rows.length, data.loose.length, ...data.rows.map((row) => (row.from || []).length + (row.logs || []).length)].join();
        if (size === spans || location.hash.slice(1, 33) !== trace) return;
        spans = size;
        const again = view && view.state();
        if (view) view.unmount();
        view = mount(app, data, again || {});
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
    const [name, query] = hash.slice(1).split("?");
    const pages = { traces: showTraces, top: showTop, map: showMap, logs: showLogs, metrics: showMetrics };
    if (!trace) {
      page = pages[name] ? name : "traces";
      readAddress(query);
      noteAddress();
    }
    for (const link of document.querySelectorAll("nav a")) {
      if (link.id === "nav-" + (trace ? "traces" : page)) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    app.classList.toggle("flow", !trace);
    document.body.classList.toggle("one", Boolean(trace));
    app.replaceChildren();
    if (trace) showTrace(trace[1]);
    else pages[page]();
  }

  async function watch() {
    let wait = 300;
    try {
      const found = await ask("state");
      live.textContent = "live";
      if (found.changes !== changes) {
        changes = found.changes;
        const begin = performance.now();
        await refresh();
        // A store that takes long to answer is asked less often.
        wait = Math.max(wait, 2 * (performance.now() - begin));
      }
    } catch {
      live.textContent = "the server is away";
    }
    setTimeout(watch, wait);
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
