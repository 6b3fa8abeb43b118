"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const view = TraceView.mount(document.getElementById("app"), data, {});
  addEventListener("hashchange", () => {
    if (view.follow(location.hash)) return;
    const wanted = location.hash.slice(1, 33);
    if (/^[0-9a-f]{32}$/.test(wanted)) alert("This span is in another trace. This page holds one:\n\ntango-telemetry show --trace " + wanted);
  });
})();
