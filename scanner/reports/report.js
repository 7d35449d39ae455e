"use strict";
(function () {
  var filter = document.getElementById("filter");
  if (filter) {
    var things = Array.prototype.slice.call(document.querySelectorAll("[data-finding]"));
    var rows = things.filter(function (thing) { return thing.tagName === "TR"; });
    var status = document.getElementById("filter-status");
    var words = things.map(function (thing) { return thing.textContent.toLowerCase(); });

    var apply = function () {
      var text = filter.elements.text.value.trim().toLowerCase();
      var wanted = {};
      ["verdict", "level", "dataset"].forEach(function (name) {
        // the first choice is "all"; a dataset may be called anything, so its place counts, not its value
        var list = filter.elements[name];
        if (list.selectedIndex > 0) { wanted[name] = list.value; }
      });
      var matching = {};
      things.forEach(function (thing, i) {
        var found = Object.keys(wanted).every(function (name) {
          return thing.getAttribute("data-" + name) === wanted[name];
        });
        var id = "f" + thing.getAttribute("data-finding");
        matching[id] = matching[id] || (found && words[i].indexOf(text) >= 0);
      });
      var shown = 0;
      things.forEach(function (thing) {
        var visible = matching["f" + thing.getAttribute("data-finding")];
        thing.hidden = !visible;
        thing.classList.toggle("filtered", !visible);
        if (visible && thing.tagName === "TR") { shown += 1; }
      });
      status.textContent = "Showing " + shown + " of " + rows.length + " findings";
    };
    filter.addEventListener("input", apply);
    filter.addEventListener("change", apply);
    filter.addEventListener("submit", function (event) { event.preventDefault(); });
    filter.hidden = false;
    apply();
  }

  document.querySelectorAll("table.sortable").forEach(function (table) {
    var heads = Array.prototype.slice.call(table.querySelectorAll("thead th"));
    heads.forEach(function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.textContent = "";
      head.appendChild(button);
      button.addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        var body = table.tBodies[0];
        var key = function (row) {
          var cell = row.cells[column];
          var value = cell.getAttribute("data-value");
          return value === null ? cell.textContent.trim() : Number(value);
        };
        Array.prototype.slice.call(body.rows).map(function (row, i) {
          return { row: row, key: key(row), i: i };
        }).sort(function (a, b) {
          var order = typeof a.key === "number" ? a.key - b.key : a.key.localeCompare(b.key);
          return (down ? -order : order) || a.i - b.i;
        }).forEach(function (entry) { body.appendChild(entry.row); });
      });
    });
  });

  // paper has no filter and no fold: print everything, then put it back
  var closed = [];
  window.addEventListener("beforeprint", function () {
    closed = Array.prototype.slice.call(document.querySelectorAll("details:not([open])"));
    closed.forEach(function (part) { part.open = true; });
  });
  window.addEventListener("afterprint", function () {
    closed.forEach(function (part) { part.open = false; });
  });

  document.documentElement.setAttribute("data-ready", "yes");
})();
