// The print button of the pay code sheet; without it the browser's own print command does the same.
(function () {
  "use strict";
  var print = document.getElementById("print");
  if (!print) return;
  print.className = "button";
  print.addEventListener("click", function () { window.print(); });
})();
