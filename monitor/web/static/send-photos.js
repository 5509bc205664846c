// Send a photo with a note or a report. The photo is sent by itself and unchanged, after the text.

import { readRefusal } from "./refusals.js";
import { tr } from "./translations.js";

/** Send a POST request. Throw an Error with the sentence of the server if it refuses. */
const post = async (address, options) => {
  const answer = await fetch(address, { method: "POST", ...options });
  if (!answer.ok) {
    throw new Error(await readRefusal(answer));
  }
  return answer;
};

/** Store the report to which the photo belongs. Return the address for its photos. */
const storeReport = async (form, fields) => {
  const answer = await post(form.action, { body: fields, headers: { Accept: "application/json" } });
  const { report } = await answer.json();
  return form.dataset.photos.replace("NUMBER", report);
};

const sendPhoto = async (form, photo) => {
  const fields = new URLSearchParams(new FormData(form));
  const isReport = Boolean(form.dataset.first);
  const address = isReport ? await storeReport(form, fields) : form.dataset.photos;
  const note = isReport ? "" : fields.get("note") || "";
  await post(`${address}?note=${encodeURIComponent(note)}`, {
    body: photo,
    headers: { "x-csrf-token": fields.get("csrf"), "content-type": "application/octet-stream" },
  });
};

const bindForm = (form) => {
  const field = form.querySelector('input[type="file"]');
  const button = form.querySelector("button");
  const trouble = form.querySelector(".trouble");
  form.addEventListener("submit", async (event) => {
    const [photo] = field.files;
    if (!photo) {
      // A text without photo is sent by the browser like any other form.
      return;
    }
    event.preventDefault();
    button.disabled = true;
    trouble.textContent = tr("The photo is being sent.");
    try {
      await sendPhoto(form, photo);
      location.reload();
    } catch (error) {
      trouble.textContent =
        error instanceof TypeError ? tr("The photo could not be sent: no connection.") : error.message;
      button.disabled = false;
    }
  });
};

document.querySelectorAll("form[data-photos]").forEach(bindForm);
