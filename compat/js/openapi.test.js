// The description of the Platform API: against the OpenAPI specification's own schema.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Server } from './server.js';

let server;

before(async () => {
  server = await Server.start();
});
after(() => server.stop());

test('the document is sound OpenAPI 3.1', async () => {
  const answer = await fetch(`${server.url}/v1/openapi.json`);
  assert.equal(answer.status, 200);
  const validator = new Validator();
  const { valid, errors } = await validator.validate(await answer.json());
  assert.ok(valid, JSON.stringify(errors, null, 1));
  assert.equal(validator.version, '3.1');
  assert.doesNotThrow(() => validator.resolveRefs());
});

test('the validator finds what is wrong', async () => {
  const doc = await (await fetch(`${server.url}/v1/openapi.json`)).json();
  delete doc.paths['/v1/user'].get.responses['200'].description;
  assert.equal((await new Validator().validate(doc)).valid, false);
});
