// Buttons that share or copy a page's address and print it; without them the address is shown to be copied by hand.
(function () {
  "use strict";
  var print = document.getElementById("print"), keep = document.getElementById("keep");
  if (print) {
    print.classList.remove("hidden");
    print.addEventListener("click", function () { window.print(); });
  }
  if (!keep || !(navigator.share || navigator.clipboard)) return;
  var address = keep.getAttribute("data-address"), done = function () { keep.textContent = keep.getAttribute("data-done"); };
  keep.classList.remove("hidden");
  keep.addEventListener("click", function () {
    if (navigator.share) navigator.share({ title: document.title, url: address }).catch(function () {});
    else navigator.clipboard.writeText(address).then(done, function () {});
  });
})();
