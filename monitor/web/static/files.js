// Sends the chosen or dropped files in parts, previews each, and opens the page of the first.
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

  const request = async (address, options) => {
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
    return answer;
  };

  // Returns the id of the upload. `sent` and `total` count bytes of all files.
  const send = async (file, batch, sent, total) => {
    const { csrf, part, most } = form.dataset;
    if (file.size > Number(most)) {
      throw new Error(tr("The file is larger than {most} MiB.", { most: Number(most) / 1048576 }));
    }
    const about = new URLSearchParams({
      csrf,
      name: file.name,
      size: file.size,
      site: form.elements.site.value,
      batch,
    });
    const { id } = await (await request("/files", { body: about })).json();
    bar.hidden = false;
    for (let at = 0; at < file.size; at += Number(part)) {
      const piece = file.slice(at, at + Number(part));
      const headers = { "x-csrf-token": csrf, "content-type": "application/octet-stream" };
      await request(`/files/${id}/part?at=${at}`, { body: piece, headers });
      bar.value = Math.min(1, (sent + at + Number(part)) / total);
    }
    return id;
  };

  const sendAll = async (files) => {
    const total = files.reduce((bytes, file) => bytes + file.size, 0);
    const ids = [];
    let sent = 0;
    for (const file of files) {
      ids.push(await send(file, ids[0] ?? "", sent, total));
      sent += file.size;
    }
    for (const id of ids.slice(1)) {
      await request(`/files/${id}/answers`, { body: new URLSearchParams({ csrf: form.dataset.csrf }) });
    }
    const next = document.getElementById("look");
    next.action = `/files/${ids[0]}/answers`;
    next.submit();
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const files = [...field.files];
    if (!files.length) {
      return;
    }
    button.disabled = true;
    trouble.textContent = "";
    try {
      await sendAll(files);
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
