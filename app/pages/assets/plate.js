// The plate keyboard. Without this script the page has a list and a text field instead, which stay the fields that are sent.
(function () {
  "use strict";
  var form = document.getElementById("plate-form");
  if (!form) return;
  var words = form.dataset, province = form.elements.province, rest = form.elements.rest;
  var typed = document.getElementById("typed"), cells = document.getElementById("cells"), keys = document.getElementById("keys");
  var PROVINCES = ["京津冀晋蒙辽吉黑沪", "苏浙皖闽赣鲁豫鄂湘", "粤桂琼渝川贵云藏", "陕甘青宁新"];
  var LETTERS = ["1234567890", "QWERTYUPA", "SDFGHJKL", "ZXCVBNM"];
  var LAST = "学警港澳挂";
  var value = (province.value + rest.value).split("").slice(0, 8), place = 0, submit = form.querySelector("button[type=submit]");

  function button(text, label, press) {
    var made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    if (label) made.setAttribute("aria-label", label);
    made.addEventListener("click", press);
    return made;
  }
  function put(letter) {
    value[place] = letter;
    if (place < 7) place += 1;
    draw();
  }
  function erase() {
    if (value[place] === undefined && place > 0) place -= 1;
    value = value.slice(0, place);
    draw();
  }
  function clear() { value = value.slice(0, 1); place = 1; draw(); }
  function select(at) { place = Math.min(at, value.length); draw(); }
  function row(letters, usable) {
    var line = document.createElement("div");
    letters.split("").forEach(function (letter) {
      var key = button(letter, null, function () { put(letter); });
      key.disabled = !usable(letter);
      line.appendChild(key);
    });
    return line;
  }
  function drawKeys() {
    keys.textContent = "";
    var rows = place === 0 ? PROVINCES : LETTERS;
    var usable = function (letter) { return place !== 1 || !/[0-9]/.test(letter); };
    rows.forEach(function (letters) { keys.appendChild(row(letters, usable)); });
    var last = keys.lastChild;
    if (place === 6) keys.insertBefore(row(LAST, function () { return true; }), keys.firstChild);
    var wipe = button(words.clear, null, clear), back = button("⌫", words.delete, erase);
    wipe.className = back.className = "side";
    last.insertBefore(wipe, last.firstChild);
    last.appendChild(back);
  }
  function drawCells() {
    cells.textContent = "";
    for (var at = 0; at < 8; at += 1) {
      var cell = button(value[at] || (at === 7 ? words.energy : ""), words.place.replace("{n}", at + 1) + " " + (value[at] || ""),
        select.bind(null, at));
      if (at === 7) cell.className = "energy" + (value[7] ? " full" : "");
      if (at === place) { cell.className += " now"; cell.setAttribute("aria-current", "true"); }
      cells.appendChild(cell);
    }
  }
  function draw() {
    province.value = value[0] || "";
    rest.value = value.slice(1).join("");
    submit.disabled = value.length < 7;
    drawCells();
    drawKeys();
  }
  function fits(letter) {
    if (place === 0) return PROVINCES.join("").indexOf(letter) >= 0;
    if (place === 1) return /^[A-HJ-NP-Z]$/.test(letter);
    return /^[0-9A-HJ-NP-Z]$/.test(letter) || (place === 6 && LAST.indexOf(letter) >= 0);
  }
  function typedOnKeyboard(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    var letter = event.key.toUpperCase();
    if (event.key === "Backspace") erase();
    else if (event.key === "Enter" && event.target === document.body && !submit.disabled) form.requestSubmit(submit);
    else if (letter.length === 1 && fits(letter)) put(letter);
  }
  function pasted(event) {
    var letters = event.clipboardData.getData("text").toUpperCase().replace(/[\s·•.-]/g, "").split("");
    if (PROVINCES.join("").indexOf(letters[0]) < 0) letters.unshift(value[0] || "");
    if (letters.length < 7 || letters.length > 8) return;
    event.preventDefault();
    value = letters;
    place = 7;
    draw();
  }
  typed.className = "hidden";
  rest.required = false;
  cells.className = "cells";
  keys.className = "keys";
  place = Math.min(value.length, 7);
  form.addEventListener("submit", function () { setTimeout(function () { submit.disabled = true; }, 0); });
  document.addEventListener("keydown", typedOnKeyboard);
  document.addEventListener("paste", pasted);
  window.addEventListener("pageshow", draw);
  draw();
})();
