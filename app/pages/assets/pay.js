// Calls up the wallet inside its own app. Its answer is no proof of payment: the result page asks the server.
(function () {
  "use strict";
  var order = document.getElementById("hand-off");
  if (!order) return;
  document.getElementById("off").hidden = true; // it says that scripts are off
  var request = JSON.parse(order.dataset.request), note = document.getElementById("note");
  var BRIDGES = {
    wechat: {name: "WeixinJSBridge", event: "WeixinJSBridgeReady", call: function (bridge) {
      bridge.invoke("getBrandWCPayRequest", request, function (answer) {
        told(answer.err_msg === "get_brand_wcpay_request:cancel");
      });
    }},
    alipay: {name: "AlipayJSBridge", event: "AlipayJSBridgeReady", call: function (bridge) {
      bridge.call("tradePay", request, function (answer) {
        told(["6001", "99"].indexOf(String(answer.resultCode)) >= 0); // cancelled, or left: any other code may mean paid
      });
    }},
  };
  var wallet = BRIDGES[order.dataset.channel];
  if (!wallet) return;
  function told(isCancelled) {
    if (isCancelled) note.textContent = order.dataset.cancelled;
    else window.location.replace(order.dataset.result);
  }
  function call() {
    wallet.call(window[wallet.name]);
  }
  function ready() {
    order.addEventListener("click", call);
    order.disabled = false;
    call();
  }
  if (window[wallet.name]) ready();
  else document.addEventListener(wallet.event, ready, {once: true});
})();
