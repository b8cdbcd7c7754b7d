/** What somebody has who cloned the repository and nothing else: no weights beside it, nothing downloaded. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bestPresent } from '../../src/inference/choose-set.ts'
import { loadManifest } from '../../src/inference/manifest.ts'
import { reachableFolder } from '../support/folder.ts'
import { check, createCustomer, eventsOf, face, liveness, type Running, startProduct } from '../support/product.ts'

const folder = reachableFolder('liveness-fresh-')
const manifest = await loadManifest()
const env = { DATA_DIR: join(folder, 'data'), MODELS_DIR: '', OPERATIONS_PORT: '' }
// Somebody may have put the better weights into models/ of this very clone.
const fresh = (await bestPresent(manifest, undefined)).name === 'own'
if (!fresh) console.warn('SKIPPED: the fresh clone, because models/ of this one holds weights that are not in git')

describe.skipIf(!fresh)('a fresh clone', () => {
  let app: Running
  beforeAll(async () => {
    app = await startProduct(env)
  }, 120_000)
  afterAll(async () => {
    await app?.kill('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }, 60_000)

  test('starts, says which set runs, which is better, and what that one lacks', async () => {
    // It serves an instant before it has printed what it tells people.
    await expect.poll(() => app.output(), { timeout: 30_000 }).toMatch(/Model set: own \d/)
    const sentences = app.output().match(/Runs with the model set own\.[^"\n]*/g)
    expect(sentences).toEqual([
      expect.stringMatching(/preferred set ensemble lacks .*minifasnet_v2_27_80\.onnx.*MODELS_DIR.*docs\/models\.md/),
    ])
  })

  test('judges with its own set, which the event and /ready name', async () => {
    const { customer_id, keys } = await createCustomer(env, '--plan', 'standard')
    const { status, body } = await check(app.url, keys.primary, face)
    expect([status, typeof body.data.isFakeFace]).toEqual([200, 'boolean'])
    const { version } = manifest.sets.own ?? {}
    const [detection] = (await eventsOf(env, customer_id)).filter(({ type }) => type === 'DetectionSucceeded')
    expect(detection?.data).toMatchObject({ modelSet: 'own', modelVersion: version })
    const ready = (await (await fetch(`${app.url}/ready`)).json()) as { model_set: unknown }
    expect(ready.model_set).toEqual({ name: 'own', version })
  })

  test('its weights verify', async () => {
    expect(await liveness(env, 'models', 'verify')).toMatch(/^present .*own_liveness\.onnx$/m)
  })
})
