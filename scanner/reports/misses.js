"use strict";
(function () {
  var figures = Array.prototype.slice.call(document.querySelectorAll("figure"));
  var count = document.getElementById("count");
  var command = document.getElementById("command");
  var at = -1;
  function box(figure) { return figure.querySelector("input"); }
  function tell() {
    var marked = 0;
    figures.forEach(function (figure) {
      var on = box(figure).checked;
      marked += on ? 1 : 0;
      figure.classList.toggle("marked", on);
    });
    count.textContent = marked + " of " + figures.length + " marked, with those that cannot be shown.";
    command.textContent = command.getAttribute("data-command") + " " + marked;
  }
  function go(to) {
    if (!figures.length) { return; }
    at = Math.max(0, Math.min(figures.length - 1, to));
    figures[at].focus({ preventScroll: true });
    figures[at].scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) { return; }
    var key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "ArrowRight" || key === "j") { go(at + 1); }
    else if (key === "ArrowLeft" || key === "k") { go(at - 1); }
    else if (key === "m" || key === " ") {
      if (at < 0) { go(0); }
      var mark = box(figures[at]);
      if (!mark.disabled) { mark.checked = !mark.checked; tell(); }
    } else { return; }
    event.preventDefault();
  });
  document.addEventListener("change", tell);
  figures.forEach(function (figure, number) {
    figure.addEventListener("click", function () { at = number; });
  });
  window.addEventListener("pageshow", tell);
  tell();
}());
