// The plate keyboard. Without this script the page has a list and a text field instead, which stay the fields that are sent.
(function () {
  "use strict";
  var form = document.getElementById("plate-form");
  if (!form) return;
  function by(id) { return document.getElementById(id); }
  var words = form.dataset, province = form.elements.province, rest = form.elements.rest;
  var typed = by("typed"), cells = by("cells"), keys = by("keys"), said = by("said"), recent = by("recent"), plain = by("plain");
  var submit = form.querySelector("button[type=submit]");

  // What each place can hold (payments/plates.py; older forms go into the plain field): ? a serial character, 9 a digit, else one of these letters.
  var P = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新", L = "ABCDEFGHJKLMNPQRSTUVWXYZ", E = "ABCDEFGHJK";
  var CLASSES = {"?": "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ", "9": "0123456789"};
  function form_of(places) { return places.map(function (letters) { return CLASSES[letters] || letters; }); }
  var FORMS = [
    [P, L, "?", "?", "?", "?", "?"], [P, L, "?", "?", "?", "?", "挂学警试超"], ["粤", "Z", "?", "?", "?", "?", "港澳"],
    [P, L, "9", "9", "9", "9", "使领"], ["使", "9", "9", "9", "9", "9", "9"],
    ["9", "9", "9", "9", "9", "9", "使"], ["W", "J", "9", "9", "9", "9", "0123456789BDHJSTX"],
    ["W", "J", P, "9", "9", "9", "9", "0123456789BDHJSTX"], ["ABCDEFGHJKLMNPQRSTUVYZ", "ABCDKLMNPRSTUVY", "9", "9", "9", "9", "9"],
    [P, L, E, "?", "9", "9", "9", "9"], [P, L, "9", "9", "9", "9", "9", E],
  ].map(form_of);
  var PROVINCES = ["苏京津冀晋蒙辽吉", "黑沪浙皖闽赣鲁豫", "鄂湘粤桂琼渝川贵", "云藏陕甘青宁新使"];
  var LETTERS = ["1234567890", "QWERTYUP", "ASDFGHJKL", "ZXCVBNM"], LAST = "挂学警试超港澳使领";
  var value = (province.value + rest.value).toUpperCase().split("").slice(0, 8), place = Math.min(value.length, 7);
  var isEnergy = value.length === 8, isPlain = false;

  function fitting(letters) { // forms that begin with these letters
    return FORMS.filter(function (places) {
      return letters.length <= places.length && letters.every(function (letter, at) { return places[at].indexOf(letter) >= 0; });
    });
  }
  function fits(letter) { return fitting(value.slice(0, place).concat(letter)).length > 0; }
  function isWhole() {
    return (!isEnergy || value.length === 8) && fitting(value).some(function (places) { return places.length === value.length; });
  }

  function button(text, label, press) {
    var made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    if (label) made.setAttribute("aria-label", label);
    made.addEventListener("click", press);
    return made;
  }
  function put(letter) {
    if (!fits(letter)) return;
    value[place] = letter;
    if (place < 7) place += 1;
    draw();
  }
  function erase() {
    if (value[place] === undefined && place > 0) place -= 1;
    value = value.slice(0, place);
    if (value.length < 7) isEnergy = false;
    draw();
  }
  function clear() { value = value.slice(0, 1); place = value.length; isEnergy = false; draw(); }
  function select(at) {
    if (at === 7 && value[7] === undefined) isEnergy = !isEnergy;
    place = Math.min(at, value.length);
    draw();
  }
  function fill(letters) { value = letters.slice(0, 8); isEnergy = value.length === 8; place = Math.min(value.length, 7); draw(); }

  // The keys are made once and hidden or switched off: whoever walks through them by keyboard keeps the place.
  function row(letters) {
    var line = document.createElement("div");
    letters.split("").forEach(function (letter) {
      var key = button(letter, null, function () { put(letter); });
      key.dataset.letter = letter;
      line.appendChild(key);
    });
    return line;
  }
  var board = {first: PROVINCES.map(row), other: LETTERS.map(row), last: row(LAST)};
  var wipe = button(words.clear, null, clear), back = button("⌫", words.delete, erase);
  wipe.className = back.className = "side";
  [board.last].concat(board.first, board.other).forEach(function (line) { keys.appendChild(line); });
  var places = [0, 1, 2, 3, 4, 5, 6, 7].map(function (at) { return cells.appendChild(button("", null, select.bind(null, at))); });

  function drawKeys() {
    var had = keys.contains(document.activeElement) ? document.activeElement : null;
    board.first.forEach(function (line) { line.hidden = place !== 0; });
    board.other.forEach(function (line) { line.hidden = place === 0; });
    board.last.hidden = place !== 6;
    var bottom = place === 0 ? board.first[3] : board.other[3];
    bottom.insertBefore(wipe, bottom.firstChild);
    bottom.appendChild(back);
    keys.querySelectorAll("[data-letter]").forEach(function (key) {
      var isOff = !fits(key.dataset.letter);
      key.setAttribute("aria-disabled", isOff);
      if (key.parentNode === board.last) key.hidden = isOff;
    });
    if (had && had.offsetParent === null) had = keys.querySelector("div:not([hidden]) [aria-disabled=false]:not([hidden])") || back;
    if (had) had.focus({preventScroll: true});
  }
  function drawCells() {
    places.forEach(function (cell, at) {
      cell.textContent = value[at] || (at === 7 ? words.energy : "");
      cell.setAttribute("aria-label", words.place.replace("{n}", at + 1) + " " + (value[at] || (at === 7 ? words.energy : "")));
      cell.className = (at === 7 ? "energy" : "") + (at === place && (at < 7 || isEnergy || value[7]) ? " now" : "");
      if (at === place) cell.setAttribute("aria-current", "true"); else cell.removeAttribute("aria-current");
    });
    places[7].setAttribute("aria-pressed", isEnergy || value[7] !== undefined);
    if (value[7]) places[7].classList.add("full");
    cells.classList.toggle("green", isEnergy || value.length === 8);
  }
  function draw() {
    if (isPlain) return;
    province.value = value[0] || "";
    if (province.value !== (value[0] || "")) province.value = ""; // 使, WJ: the list has no such province
    rest.value = value.slice(province.value ? 1 : 0).join("");
    submit.disabled = !isWhole();
    said.textContent = value.join(" ");
    drawCells();
    drawKeys();
  }

  // Plates that were looked up on this phone. A browser that keeps nothing, or forbids it, shows none; a page without the list keeps none.
  var KEPT = "tongting.plates", KEPT_MAX = 3;
  function kept() {
    if (!recent) return [];
    try {
      var found = JSON.parse(window.localStorage.getItem(KEPT));
      return Array.isArray(found) ? found.filter(function (one) { return /^[^\s<>]{7,8}$/.test(one); }).slice(0, KEPT_MAX) : [];
    } catch (forbidden) { return []; }
  }
  function keep(found) {
    if (!recent) return;
    try {
      if (found.length) window.localStorage.setItem(KEPT, JSON.stringify(found.slice(0, KEPT_MAX)));
      else window.localStorage.removeItem(KEPT);
    } catch (forbidden) { /* then they are typed again */ }
  }
  function forget(plate) {
    keep(kept().filter(function (one) { return plate && one !== plate; }));
    drawRecent();
    submit.focus({preventScroll: true});
    if (submit.disabled) places[0].focus({preventScroll: true});
  }
  function drawRecent() {
    if (!recent) return;
    var list = recent.querySelector("ul"), found = kept();
    list.textContent = "";
    recent.hidden = found.length === 0;
    found.forEach(function (plate) {
      var item = document.createElement("li");
      item.appendChild(button(plate, null, fill.bind(null, plate.split("")))).className = "plate" + (plate.length === 8 ? " green" : "");
      item.appendChild(button("×", words.forget.replace("{plate}", plate), forget.bind(null, plate))).className = "gone";
      list.appendChild(item);
    });
    if (found.length > 1) {
      var last = document.createElement("li");
      last.appendChild(button(words.forgetAll, null, forget.bind(null, ""))).className = "text";
      list.appendChild(last);
    }
  }

  function typedOnKeyboard(event) {
    if (isPlain || event.ctrlKey || event.metaKey || event.altKey) return;
    var letter = event.key.toUpperCase();
    if (event.key === "Backspace") erase();
    else if (event.key === "Enter" && event.target === document.body && !submit.disabled) form.requestSubmit(submit);
    else if (letter.length === 1) put(letter);
  }
  function pasted(event) {
    if (isPlain) return;
    var letters = event.clipboardData.getData("text").toUpperCase().replace(/[\s·•.-]/g, "").split("");
    if (fitting(letters).length === 0 && value[0]) letters.unshift(value[0]);
    if (!fitting(letters).some(function (places) { return places.length === letters.length; })) return;
    event.preventDefault();
    fill(letters);
  }
  function usePlain() {
    isPlain = true;
    typed.hidden = false;
    rest.required = true;
    [cells, keys, plain, recent].forEach(function (part) { if (part) part.hidden = true; });
    submit.disabled = false;
    rest.focus();
  }
  function sent() {
    var plate = (province.value + rest.value).toUpperCase();
    if (isWhole() || isPlain) keep([plate].concat(kept().filter(function (one) { return one !== plate; })));
    setTimeout(function () { submit.disabled = true; }, 0);
  }
  function shown() {
    if (isPlain) submit.disabled = false;
    else { drawRecent(); draw(); }
  }
  typed.hidden = true;
  rest.required = false;
  cells.hidden = keys.hidden = plain.hidden = false;
  plain.addEventListener("click", usePlain);
  form.addEventListener("submit", sent);
  document.addEventListener("keydown", typedOnKeyboard);
  document.addEventListener("paste", pasted);
  window.addEventListener("pageshow", shown);
  shown();
})();
