// Looks again after a while: sooner the first time, not behind another window, while something is typed, or without a network.
// Without scripts the page does.
(function () {
  "use strict";
  var told = document.currentScript.dataset, entry = performance.getEntriesByType("navigation")[0];
  var seconds = entry && entry.type === "navigate" ? 1 : Number(told.seconds);
  function say() {
    var note = document.createElement("p");
    note.className = "alert";
    note.id = "offline";
    note.setAttribute("role", "status");
    note.textContent = told.offline;
    document.querySelector("main").prepend(note);
  }
  function look() {
    if (navigator.onLine === false && !document.getElementById("offline")) say();
    var busy = document.hidden || navigator.onLine === false || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (busy) window.setTimeout(look, 1000);
    else window.location.reload();
  }
  window.setTimeout(look, seconds * 1000);
})();
