// Sends the prepared order to the channel's page at once; without scripts its button does the same.
(function () {
  "use strict";
  var form = document.getElementById("leave");
  if (form && !window.sessionStorage.getItem(form.action + window.location.pathname)) {
    window.sessionStorage.setItem(form.action + window.location.pathname, "sent"); // coming back must not send the payer away again
    form.submit();
  }
})();
