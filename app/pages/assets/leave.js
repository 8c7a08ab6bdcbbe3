// Leads to the channel's page at once: follows the link, or sends the prepared order. Without scripts the button does the same.
(function () {
  "use strict";
  var leave = document.getElementById("leave"), state = window.history.state;
  if (!leave || (state && state.left)) return; // coming back or reloading must not send the payer away again
  function go() {
    window.history.replaceState({left: true}, "");
    if (leave.href) window.location.assign(leave.href);
    else window.HTMLFormElement.prototype.submit.call(leave); // a field may be named like a method of the form
  }
  window.addEventListener("load", function () { window.setTimeout(go, 0); }); // earlier, this page would not be there to come back to
})();
