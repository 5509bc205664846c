// Sends a chosen or dropped file in parts.
"use strict";
(() => {
  const form = document.getElementById("send");
  if (!form) {
    return;
  }
  const field = form.elements.file;
  const drop = document.getElementById("drop");
  const trouble = document.getElementById("trouble");
  const bar = document.getElementById("sent");
  const button = form.querySelector("button");

  const ask = async (address, options) => {
    const answer = await fetch(address, { method: "POST", ...options });
    if (!answer.ok) {
      const text = await answer.text();
      let said = new DOMParser().parseFromString(text, "text/html").querySelector("main p")?.textContent;
      try {
        said = JSON.parse(text).error;
      } catch {
        /* a page */
      }
      throw new Error(said || `${answer.status}`);
    }
    return answer.json();
  };

  const send = async (file) => {
    const { csrf, part, most } = form.dataset;
    if (file.size > Number(most)) {
      throw new Error(tr("The file is larger than {most} MiB.", { most: Number(most) / 1048576 }));
    }
    const about = new URLSearchParams({ csrf, name: file.name, size: file.size, site: form.elements.site.value });
    const { id } = await ask("/files", { body: about });
    bar.hidden = false;
    for (let at = 0; at < file.size; at += Number(part)) {
      const piece = file.slice(at, at + Number(part));
      const headers = { "x-csrf-token": csrf, "content-type": "application/octet-stream" };
      await ask(`/files/${id}/part?at=${at}`, { body: piece, headers });
      bar.value = Math.min(1, (at + Number(part)) / file.size);
    }
    const next = document.getElementById("look");
    next.action = `/files/${id}/answers`;
    next.submit();
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [file] = field.files;
    if (!file) {
      return;
    }
    button.disabled = true;
    trouble.textContent = "";
    try {
      await send(file);
    } catch (error) {
      trouble.textContent =
        error instanceof TypeError
          ? tr("The file could not be sent: no connection, or it changed meanwhile.")
          : error.message;
      button.disabled = false;
      bar.hidden = true;
    }
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) {
        field.files = event.dataTransfer.files;
      }
    });
  }
})();
