// Texts of the scripts in the reader's language: the page carries them where it is not English. And
// why an act was refused.
"use strict";
(() => {
  const node = document.getElementById("words");
  const said = node ? JSON.parse(node.textContent) : {};
  // tr("velocity in {span}", { span: "6 h" }); what has no translation stays English
  window.tr = (text, values = {}) => (said[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  // the sentence of the page, or of the answer to a program, that refuses an act
  window.readRefusal = async (answer) => {
    const text = await answer.text();
    const said = new DOMParser().parseFromString(text, "text/html").querySelector("main p")?.textContent;
    try {
      return JSON.parse(text).error || said;
    } catch {
      return said || `${answer.status}`;
    }
  };
})();
