// Looks again after a while, but not behind another window and not while something is being typed. Without scripts the page does.
(function () {
  "use strict";
  var seconds = Number(document.currentScript.dataset.seconds);
  function look() {
    if (document.hidden || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) window.setTimeout(look, 1000);
    else window.location.reload();
  }
  window.setTimeout(look, seconds * 1000);
})();
