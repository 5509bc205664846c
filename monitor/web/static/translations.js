// Texts of scripts in the language of the reader. The page contains the translations if its language is not English.

import { readRefusal } from "./refusals.js";

const node = document.getElementById("translations");
const translations = node ? JSON.parse(node.textContent) : {};

/**
 * Translate a text and insert values. A text without translation stays English.
 *
 * @param {string} text in English, such as "velocity in {span}"
 * @param {Object<string, unknown>} values by name, such as `{ span: "6 h" }`
 */
export const tr = (text, values = {}) =>
  (translations[text] ?? text).replace(/\{(\w+)\}/g, (placeholder, name) => values[name] ?? placeholder);

// Scripts of charts, maps and features are no modules.
Object.assign(window, { tr, readRefusal });
