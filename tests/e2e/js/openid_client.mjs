// `openid-client` as its documentation has it, for a gateway on loopback: the one allowance is plain HTTP.
//
// It keeps its DPoP handle from call to call, as an application would: so nonces are learnt, and asked for again.
import { importJWK } from 'jose';
import * as client from 'openid-client';
import { converse, readResponse } from './conversation.mjs';

let config;
let options;
let pending;
let device;

async function authenticationOf({ private_jwk, client_secret }) {
  if (client_secret) return client.ClientSecretBasic(client_secret);
  if (!private_jwk) return client.None();
  const { alg, kid, ...jwk } = private_jwk;
  return client.PrivateKeyJwt({ key: await importJWK(jwk, alg), kid });
}

const known = ({ access_token, token_type, expires_in, scope, refresh_token }) => ({
  access_token,
  token_type,
  expires_in,
  scope,
  refresh_token,
});

await converse({
  async discover({ issuer, client_id, dpop_alg, ...credentials }) {
    const authentication = await authenticationOf(credentials);
    config = await client.discovery(new URL(issuer), client_id, undefined, authentication, {
      algorithm: 'oauth2',
      execute: [client.allowInsecureRequests],
    });
    const keys = dpop_alg && (await client.randomDPoPKeyPair(dpop_alg));
    options = keys ? { DPoP: client.getDPoPHandle(config, keys) } : undefined;
    return config.serverMetadata();
  },

  async client_credentials({ parameters }) {
    return known(await client.clientCredentialsGrant(config, parameters, options));
  },

  async push({ redirect_uri, scope, ...rest }) {
    const code_verifier = client.randomPKCECodeVerifier();
    const state = client.randomState();
    const parameters = {
      ...rest,
      redirect_uri,
      scope,
      state,
      code_challenge: await client.calculatePKCECodeChallenge(code_verifier),
      code_challenge_method: 'S256',
    };
    const url = await client.buildAuthorizationUrlWithPAR(config, parameters, options);
    pending = { pkceCodeVerifier: code_verifier, expectedState: state };
    return url.href;
  },

  async finish({ url }) {
    return known(await client.authorizationCodeGrant(config, new URL(url), pending, undefined, options));
  },

  async refresh({ refresh_token, parameters }) {
    return known(await client.refreshTokenGrant(config, refresh_token, parameters, options));
  },

  async start_device({ parameters }) {
    device = await client.initiateDeviceAuthorization(config, parameters);
    return device;
  },

  // It waits as long as the server asks it to, then tries until somebody has decided.
  async redeem_device() {
    return known(await client.pollDeviceAuthorizationGrant(config, device, undefined, options));
  },

  async revoke({ value }) {
    await client.tokenRevocation(config, value);
  },

  async introspect({ value }) {
    return await client.tokenIntrospection(config, value);
  },

  async ask({ access_token, url, method = 'GET', body }) {
    const headers = new Headers(body ? { 'content-type': 'application/json' } : {});
    const asked = [config, access_token, new URL(url), method, body, headers, options];
    return await readResponse(await client.fetchProtectedResource(...asked));
  },
});
