// Says the sum of what is chosen, and lets all be chosen at once. Without this script the next page says the sum.
(function () {
  "use strict";
  var form = document.getElementById("choose");
  if (!form) return;
  var boxes = Array.prototype.slice.call(form.querySelectorAll("input[name=chosen]"));
  var row = document.getElementById("all"), all = row.querySelector("input"), sum = document.getElementById("sum");
  var go = document.getElementById("chosen"), words = go.textContent;

  function draw() {
    var chosen = boxes.filter(function (box) { return box.checked; });
    var fen = chosen.reduce(function (total, box) { return total + Number(box.dataset.fen); }, 0);
    var yuan = Math.floor(fen / 100) + "." + ("0" + fen % 100).slice(-2);
    sum.textContent = yuan;
    go.textContent = words + " ¥" + yuan;
    go.disabled = chosen.length === 0;
    all.checked = chosen.length === boxes.length;
    all.indeterminate = chosen.length > 0 && !all.checked;
  }
  all.addEventListener("change", function () {
    boxes.forEach(function (box) { box.checked = all.checked; });
    draw();
  });
  boxes.forEach(function (box) { box.addEventListener("change", draw); });
  row.hidden = false;
  window.addEventListener("pageshow", draw); // back: the browser has put the ticks back by then
  draw();
})();
