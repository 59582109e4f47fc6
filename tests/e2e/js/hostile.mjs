// `jose` as an attacker would use it: whatever header, claims and key are asked for, signed or left unsigned.
import { SignJWT, UnsecuredJWT, CompactSign, base64url, exportJWK, generateKeyPair, importJWK } from 'jose';
import { converse } from './conversation.mjs';

await converse({
  async sign({ header, claims, jwk, alg }) {
    const key = await importJWK(jwk, alg ?? header.alg);
    return await new SignJWT(claims).setProtectedHeader(header).sign(key);
  },

  // The way of the old confusion: an HMAC whose secret is the text of a public key.
  async sign_with_text({ header, claims, text }) {
    return await new SignJWT(claims).setProtectedHeader(header).sign(new TextEncoder().encode(text));
  },

  unsecured({ claims }) {
    return new UnsecuredJWT(claims).encode();
  },

  // Not JSON, not an object, not what a token holds: any text as the payload.
  async sign_text({ header, payload, jwk, alg }) {
    const key = await importJWK(jwk, alg ?? header.alg);
    return await new CompactSign(new TextEncoder().encode(payload)).setProtectedHeader(header).sign(key);
  },

  async generate({ alg }) {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    return { public: await exportJWK(publicKey), private: await exportJWK(privateKey) };
  },

  decode({ text }) {
    return new TextDecoder().decode(base64url.decode(text));
  },
});
