// Texts of the scripts in the reader's language: the page carries them where it is not English.
"use strict";
(() => {
  const node = document.getElementById("words"), said = node ? JSON.parse(node.textContent) : {};
  // tr("velocity in {span}", { span: "6 h" }); what has no translation stays English
  window.tr = (text, values = {}) => (said[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
})();
