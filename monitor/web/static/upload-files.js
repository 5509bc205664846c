// Send the chosen or dropped files in parts, and open the preview of the first one.

import { readRefusal } from "./refusals.js";
import { tr } from "./translations.js";

const BYTES_PER_MIB = 1_048_576;
const form = document.getElementById("send");

/** Send a POST request. Throw an Error with the sentence of the server if it refuses. */
const post = async (address, options) => {
  const answer = await fetch(address, { method: "POST", ...options });
  if (!answer.ok) {
    throw new Error(await readRefusal(answer));
  }
  return answer;
};

/**
 * Send one file. Return the id of the upload.
 *
 * @param {File} file
 * @param {string} batchId of the first upload, empty for the first file
 * @param {(bytes: number) => void} showProgress called with the bytes of this file that are sent
 */
const sendFile = async (file, batchId, showProgress) => {
  const { csrf, part, most } = form.dataset;
  if (file.size > Number(most)) {
    throw new Error(tr("The file is larger than {most} MiB.", { most: Number(most) / BYTES_PER_MIB }));
  }
  const description = new URLSearchParams({
    csrf,
    name: file.name,
    size: file.size,
    site: form.elements.site.value,
    batch: batchId,
  });
  const { id } = await (await post("/files", { body: description })).json();
  showProgress(0);
  const partBytes = Number(part);
  for (let offset = 0; offset < file.size; offset += partBytes) {
    await post(`/files/${id}/part?at=${offset}`, {
      body: file.slice(offset, offset + partBytes),
      headers: { "x-csrf-token": csrf, "content-type": "application/octet-stream" },
    });
    showProgress(offset + partBytes);
  }
  return id;
};

/** Send all files, let the server read them, and open the preview. */
const sendFiles = async (files) => {
  const progress = document.getElementById("sent");
  const totalBytes = files.reduce((bytes, file) => bytes + file.size, 0);
  const ids = [];
  let sentBytes = 0;
  for (const file of files) {
    const showProgress = (bytes) => {
      progress.hidden = false;
      progress.value = Math.min(1, (sentBytes + bytes) / totalBytes);
    };
    ids.push(await sendFile(file, ids[0] ?? "", showProgress));
    sentBytes += file.size;
  }
  const [firstId, ...otherIds] = ids;
  for (const id of otherIds) {
    await post(`/files/${id}/answers`, { body: new URLSearchParams({ csrf: form.dataset.csrf }) });
  }
  const preview = document.getElementById("look");
  preview.action = `/files/${firstId}/answers`;
  preview.submit();
};

const describeError = (error) =>
  error instanceof TypeError
    ? tr("The file could not be sent: no connection, or it changed meanwhile.")
    : error.message;

const bindForm = () => {
  const field = form.elements.file;
  const button = form.querySelector("button");
  const trouble = document.getElementById("trouble");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const files = [...field.files];
    if (!files.length) {
      return;
    }
    button.disabled = true;
    trouble.textContent = "";
    try {
      await sendFiles(files);
    } catch (error) {
      trouble.textContent = describeError(error);
      button.disabled = false;
      document.getElementById("sent").hidden = true;
    }
  });

  const dropArea = document.getElementById("drop");
  const mark = (event) => {
    // Without this the browser would open a dropped file in place of the page.
    event.preventDefault();
    dropArea.classList.toggle("over", event.type === "dragover");
  };
  dropArea.addEventListener("dragover", mark);
  dropArea.addEventListener("dragleave", mark);
  dropArea.addEventListener("drop", (event) => {
    mark(event);
    if (event.dataTransfer.files.length) {
      field.files = event.dataTransfer.files;
    }
  });
};

if (form) {
  bindForm();
}
