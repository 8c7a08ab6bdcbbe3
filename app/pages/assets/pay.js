// Calls up WeChat Pay inside WeChat. Its answer is no proof of payment: the result page asks the server.
(function () {
  "use strict";
  var order = document.getElementById("hand-off");
  if (!order) return;
  var request = JSON.parse(order.dataset.request), note = document.getElementById("note");
  function call() {
    window.WeixinJSBridge.invoke("getBrandWCPayRequest", request, function (answer) {
      if (answer.err_msg === "get_brand_wcpay_request:cancel") note.textContent = order.dataset.cancelled;
      else window.location.replace(order.dataset.result);
    });
  }
  function ready() {
    order.addEventListener("click", call);
    order.disabled = false;
    call();
  }
  if (window.WeixinJSBridge) ready();
  else document.addEventListener("WeixinJSBridgeReady", ready, false);
})();
