// Lets a passkey answer what the page asks: reads the question out of the form, puts the answer into it, sends it.
// It fetches nothing. Without it, everything but passkeys works.
"use strict";

(() => {
  const toBytes = (text) => {
    const padded = text.replace(/-/g, "+").replace(/_/g, "/").padEnd(Math.ceil(text.length / 4) * 4, "=");
    return Uint8Array.from(atob(padded), (each) => each.charCodeAt(0));
  };

  const toText = (bytes) =>
    btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const withBytes = (listed) => (listed || []).map((each) => ({ ...each, id: toBytes(each.id) }));

  const asked = (options) => ({ ...options, challenge: toBytes(options.challenge) });

  const getQuestion = (options) => ({ ...asked(options), allowCredentials: withBytes(options.allowCredentials) });

  const createQuestion = (options) => ({
    ...asked(options),
    user: { ...options.user, id: toBytes(options.user.id) },
    excludeCredentials: withBytes(options.excludeCredentials),
  });

  const answer = (credential) => {
    const { response } = credential;
    const told = { clientDataJSON: toText(response.clientDataJSON) };
    for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (response[name]) told[name] = toText(response[name]);
    }
    if (response.getTransports) told.transports = response.getTransports();
    return JSON.stringify({
      id: credential.id,
      rawId: toText(credential.rawId),
      type: credential.type,
      authenticatorAttachment: credential.authenticatorAttachment || null,
      clientExtensionResults: credential.getClientExtensionResults(),
      response: told,
    });
  };

  const begin = (form) => {
    const options = JSON.parse(form.dataset.options);
    return form.dataset.passkey === "create"
      ? navigator.credentials.create({ publicKey: createQuestion(options) })
      : navigator.credentials.get({ publicKey: getQuestion(options) });
  };

  const run = async (form) => {
    const failed = form.querySelector("[data-failed]");
    failed.hidden = true;
    try {
      form.elements.answer.value = answer(await begin(form));
    } catch {
      failed.hidden = false;
      return;
    }
    form.submit();
  };

  if (!window.PublicKeyCredential) return;
  for (const each of document.querySelectorAll("[data-needs-passkeys]")) each.hidden = false;
  for (const each of document.querySelectorAll("[data-without-passkeys]")) each.hidden = true;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      run(form);
    });
    if (form.dataset.start === "now") run(form);
  }
})();
