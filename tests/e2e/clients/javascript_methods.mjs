// Every public method of `replicate` 1.x for JavaScript, called once: `node javascript_methods.mjs every JSON` prints
// what it has and what was called. CLIENT_HOME is the directory whose node_modules has the client.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const Replicate = createRequire(`${process.env.CLIENT_HOME}/`)("replicate");
const replicate = new Replicate({ baseUrl: `${process.env.REPLICATE_BASE_URL}/v1` });
const called = new Set();

// Notes each function of the client and of its namespaces when it is called; all their names.
function watch(owner, prefix = "") {
  const names = [];
  const own = Object.getOwnPropertyNames(owner).concat(
    prefix ? [] : Object.getOwnPropertyNames(Object.getPrototypeOf(owner)),
  );
  for (const name of own) {
    const value = owner[name];
    if (name === "constructor" || name === "fetch") continue; // the one given by the program
    if (typeof value === "function") {
      names.push(prefix + name);
      owner[name] = function (...given) {
        called.add(prefix + name);
        return value.apply(this, given);
      };
    } else if (value && typeof value === "object") {
      names.push(...watch(value, `${prefix}${name}.`));
    }
  }
  return names;
}

async function things({ owner, text, text_version, collection, mark }) {
  await replicate.accounts.current();
  await replicate.hardware.list();
  await replicate.collections.list();
  await replicate.collections.get(collection);
  const name = `js-${mark}`;
  await replicate.models.create(owner, name, { visibility: "private", hardware: "cpu" });
  await replicate.models.get(owner, name);
  await replicate.models.list();
  await replicate.models.search("text");
  await replicate.models.versions.list(...text.split("/"));
  await replicate.models.versions.get(...text.split("/"), text_version);
  const file = await replicate.files.create(Buffer.from("hello"), { of: "js" });
  assert.deepEqual((await replicate.files.get(file.id)).metadata, { of: "js" });
  await replicate.files.list();
  await replicate.files.delete(file.id);
  await replicate.webhooks.default.secret.get();
  assert.equal((await replicate.request("/account", { method: "GET" })).status, 200);
}

async function runs({ owner, text, text_version, tokens, train, train_version, trained, mark }) {
  const prediction = await replicate.predictions.create({ version: text_version, input: { text: "x" } });
  await replicate.wait(prediction);
  await replicate.predictions.get(prediction.id);
  await replicate.predictions.cancel(prediction.id);
  for await (const page of replicate.paginate(replicate.predictions.list)) {
    assert.ok(page.length);
    break;
  }
  assert.equal(await replicate.run(text, { input: { text: "x" } }), "[x]");
  const events = [];
  for await (const { event } of replicate.stream(tokens, { input: { text: "one two" } })) events.push(event);
  assert.deepEqual(events, ["output", "output", "done"]);
  const made = { model: text, version: text_version, hardware: "cpu", min_instances: 0, max_instances: 1 };
  await replicate.deployments.create({ name: `js-used-${mark}`, ...made });
  await replicate.deployments.get(owner, `js-used-${mark}`);
  await replicate.deployments.list();
  await replicate.deployments.update(owner, `js-used-${mark}`, { max_instances: 2 });
  const deployed = await replicate.deployments.predictions.create(owner, `js-used-${mark}`, { input: { text: "x" } });
  await replicate.predictions.cancel(deployed.id);
  await replicate.deployments.create({ name: `js-gone-${mark}`, ...made });
  assert.equal(await replicate.deployments.delete(owner, `js-gone-${mark}`), true);
  const wanted = { destination: trained, input: { greeting: "hello" } };
  const training = await replicate.trainings.create(...train.split("/"), train_version, wanted);
  await replicate.trainings.get(training.id);
  await replicate.trainings.list();
  await replicate.trainings.cancel(training.id);
}

const shop = JSON.parse(process.argv[3]);
const methods = watch(replicate);
await things(shop);
await runs(shop);
console.log(JSON.stringify({ methods: methods.sort(), called: [...called].sort() }));
