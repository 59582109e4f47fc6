// `oauth4webapi`, step by step: what `openid-client` does inside stands here in the open, the retry for a nonce included.
import { importJWK } from 'jose';
import * as oauth from 'oauth4webapi';
import { converse, readResponse } from './conversation.mjs';

const plain = { [oauth.allowInsecureRequests]: true };
let server;
let client;
let authentication;
let options;
let pending;
let device;
let retries;

async function withNonce(request, read) {
  retries = 0;
  try {
    return await read(await request());
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    retries += 1; // the handle has learnt the nonce from the refusal
    return await read(await request());
  }
}

const asServer = (request, read) => withNonce(request, (response) => read(server, client, response));

await converse({
  async discover({ issuer, client_id, private_jwk, client_secret, dpop_alg }) {
    const expected = new URL(issuer);
    const found = await oauth.discoveryRequest(expected, { algorithm: 'oauth2', ...plain });
    server = await oauth.processDiscoveryResponse(expected, found);
    client = { client_id };
    if (private_jwk) {
      const { alg, kid, ...jwk } = private_jwk;
      authentication = oauth.PrivateKeyJwt({ key: await importJWK(jwk, alg), kid });
    } else {
      authentication = client_secret ? oauth.ClientSecretBasic(client_secret) : oauth.None();
    }
    const keys = dpop_alg && (await oauth.generateKeyPair(dpop_alg));
    options = keys ? { DPoP: oauth.DPoP(client, keys), ...plain } : plain;
    return server;
  },

  async discover_resource({ resource }) {
    const expected = new URL(resource);
    const response = await oauth.resourceDiscoveryRequest(expected, plain);
    return await oauth.processResourceDiscoveryResponse(expected, response);
  },

  async client_credentials({ parameters }) {
    const request = () =>
      oauth.clientCredentialsGrantRequest(server, client, authentication, parameters, options);
    const made = await asServer(request, oauth.processClientCredentialsResponse);
    return { ...made, retries };
  },

  async push({ redirect_uri, scope, ...rest }) {
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const parameters = {
      ...rest,
      client_id: client.client_id,
      response_type: 'code',
      redirect_uri,
      scope,
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    };
    const request = () =>
      oauth.pushedAuthorizationRequest(server, client, authentication, parameters, options);
    const pushed = await asServer(request, oauth.processPushedAuthorizationResponse);
    pending = { verifier, state, redirect_uri };
    const url = new URL(server.authorization_endpoint);
    url.searchParams.set('client_id', client.client_id);
    url.searchParams.set('request_uri', pushed.request_uri);
    return url.href;
  },

  async finish({ url }) {
    const answered = oauth.validateAuthResponse(server, client, new URL(url), pending.state);
    const { redirect_uri, verifier } = pending;
    const request = () =>
      oauth.authorizationCodeGrantRequest(
        server,
        client,
        authentication,
        answered,
        redirect_uri,
        verifier,
        options,
      );
    return await asServer(request, oauth.processAuthorizationCodeResponse);
  },

  async refresh({ refresh_token }) {
    const request = () =>
      oauth.refreshTokenGrantRequest(server, client, authentication, refresh_token, options);
    return await asServer(request, oauth.processRefreshTokenResponse);
  },

  async start_device({ parameters }) {
    const response = await oauth.deviceAuthorizationRequest(server, client, authentication, parameters, plain);
    device = await oauth.processDeviceAuthorizationResponse(server, client, response);
    return device;
  },

  // Once: the test says when, so that nobody waits for an interval to pass.
  async redeem_device() {
    const { device_code } = device;
    const request = () =>
      oauth.deviceCodeGrantRequest(server, client, authentication, device_code, options);
    return await asServer(request, oauth.processDeviceCodeResponse);
  },

  async revoke({ value }) {
    const response = await oauth.revocationRequest(server, client, authentication, value, plain);
    await oauth.processRevocationResponse(response);
  },

  async introspect({ value }) {
    const response = await oauth.introspectionRequest(server, client, authentication, value, plain);
    return await oauth.processIntrospectionResponse(server, client, response);
  },

  async ask({ access_token, url, method = 'GET', body }) {
    const headers = new Headers(body ? { 'content-type': 'application/json' } : {});
    const request = () =>
      oauth.protectedResourceRequest(access_token, method, new URL(url), headers, body, options);
    const answer = await withNonce(request, readResponse);
    return { ...answer, retries };
  },

  // A service that takes our tokens by itself: the published keys and the claims of RFC 9068 have to suffice.
  async validate({ access_token, audience, url, method = 'GET' }) {
    const headers = new Headers({ authorization: `${options.DPoP ? 'DPoP' : 'Bearer'} ${access_token}` });
    const keep = async (_, init) => {
      for (const [name, value] of new Headers(init.headers)) headers.set(name, value);
      return new Response();
    };
    await oauth.protectedResourceRequest(access_token, method, new URL(url), undefined, undefined, {
      ...options,
      [oauth.customFetch]: keep,
    });
    const request = new Request(url, { method, headers });
    return await oauth.validateJwtAccessToken(server, request, audience, plain);
  },
});
