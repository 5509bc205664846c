// Sends a photo with a note or a report: the picture goes as it is, by itself, after the words.
"use strict";
(() => {
  for (const form of document.querySelectorAll("form[data-photos]")) {
    const field = form.querySelector('input[type="file"]');
    const trouble = form.querySelector(".trouble");
    form.addEventListener("submit", async (event) => {
      const [file] = field.files;
      if (!file) {
        return;
      } // words alone go the way of every form
      event.preventDefault();
      const button = form.querySelector("button");
      const words = new URLSearchParams(new FormData(form));
      button.disabled = true;
      trouble.textContent = tr("The photo is being sent.");
      try {
        let address = form.dataset.photos;
        if (form.dataset.first) {
          // the report comes before its photo
          const answer = await fetch(form.action, {
            method: "POST",
            body: words,
            headers: { Accept: "application/json" },
          });
          if (!answer.ok) {
            throw new Error(await readRefusal(answer));
          }
          address = address.replace("NUMBER", (await answer.json()).report);
        }
        const note = form.dataset.first ? "" : words.get("note") || "";
        const headers = { "x-csrf-token": words.get("csrf"), "content-type": "application/octet-stream" };
        const answer = await fetch(`${address}?note=${encodeURIComponent(note)}`, {
          method: "POST",
          body: file,
          headers,
        });
        if (!answer.ok) {
          throw new Error(await readRefusal(answer));
        }
        location.reload();
      } catch (error) {
        trouble.textContent =
          error instanceof TypeError ? tr("The photo could not be sent: no connection.") : error.message;
        button.disabled = false;
      }
    });
  }
})();
