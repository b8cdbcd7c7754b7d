import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { bestPresent, type Choice, chooseSet } from '../../src/inference/choose-set.ts'
import { loadManifest, type Manifest, type Model } from '../../src/inference/manifest.ts'
import { packagedModels, sha256Of } from '../../src/inference/weights.ts'

/** Each file's text is its own name; no file of these names exists anywhere but where a test puts it. */
const names = ['best-a', 'best-b', 'spare-a', 'spare-b']
const file = (name: string) => `choose-set-test-${name}.onnx`

let [modelsDir, dataDir] = ['', '']
let server: Server
/** Paths asked for. */
let asked: string[]
let answer: (path: string) => string | 'silence' | null
let said: string[]
/** How loud each sentence was. */
let levels: string[]

beforeEach(async () => {
  modelsDir = await mkdtemp(join(tmpdir(), 'choose-models-'))
  dataDir = await mkdtemp(join(tmpdir(), 'choose-data-'))
  asked = []
  said = []
  levels = []
  answer = (path) => path
  server = createServer((request, response) => {
    const path = (request.url ?? '').slice(1)
    asked.push(path)
    const text = answer(path)
    if (text === 'silence') return
    response.writeHead(text === null ? 404 : 200).end(text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterEach(async () => {
  server.closeAllConnections()
  if (server.listening) await new Promise((resolve) => server.close(resolve))
  await rm(modelsDir, { recursive: true })
  await rm(dataDir, { recursive: true })
})

/** Two sets, `best` and `spare`, of a detector and a classifier each; the files of `best` can be fetched. */
async function manifest(withoutAddress: string[] = []): Promise<Manifest> {
  const shipped = await loadManifest()
  const { port } = server.address() as AddressInfo
  const model = (name: string): Model => {
    const from = name.endsWith('a') ? 'face_detection_yunet' : 'minifas_se_128'
    const { url: _, ...template } = shipped.models[from] as Model
    const weights = { file: file(name), bytes: name.length, sha256: sha256Of(Buffer.from(name)) }
    const fetchable = name.startsWith('best') && !withoutAddress.includes(name)
    return { ...template, ...weights, ...(fetchable ? { url: `http://127.0.0.1:${port}/${name}` } : {}) } as Model
  }
  const set = (name: string) => ({
    ...(shipped.sets.ensemble as Manifest['sets'][string]),
    detector: name,
    classifiers: { [`${name}-b`]: 1 },
  })
  const detector = (name: string) =>
    ({ ...shipped.detectors.yunet, model: `${name}-a` }) as Manifest['detectors'][string]
  return {
    models: Object.fromEntries(names.map((name) => [name, model(name)])),
    detectors: { best: detector('best'), spare: detector('spare') },
    sets: { best: set('best'), spare: set('spare') },
    preferred: ['best', 'spare'],
  }
}

const put = (...which: string[]) => Promise.all(which.map((name) => writeFile(join(modelsDir, file(name)), name)))
const choose = async (changes: Partial<Choice> = {}) =>
  (
    await chooseSet({
      manifest: changes.manifest ?? (await manifest()),
      wanted: undefined,
      modelsDir,
      dataDir,
      say: (sentence, level) => {
        said.push(sentence)
        levels.push(level)
      },
      ...changes,
    })
  ).name

test('a set asked for by name is taken, complete or not, and nothing is fetched', async () => {
  await put('best-a', 'best-b')
  expect(await choose({ wanted: 'spare' })).toBe('spare')
  await expect(choose({ wanted: 'nonesuch' })).rejects.toThrow(/no model set "nonesuch".*best, spare/)
  expect(asked).toEqual([])
})

test('the best set is taken when its weights are all here', async () => {
  await put(...names)
  expect(await choose()).toBe('best')
  expect([asked, said]).toEqual([[], []])
})

test('what the best set lacks is fetched on the first start, checked, told, and there for the next', async () => {
  await put('best-a', 'spare-a', 'spare-b')
  expect(await choose()).toBe('best')
  expect(asked).toEqual(['best-b'])
  expect(said).toEqual([
    'Fetching the weights of the model set best once: 1 files, 0.0 MB.',
    `${file('best-b')}: 0.0 MB received.`,
  ])
  expect(await readFile(join(modelsDir, file('best-b')), 'utf8')).toBe('best-b')
  said = []
  expect(await choose()).toBe('best')
  expect([asked, said]).toEqual([['best-b'], []])
})

test('offline, the next set runs, one sentence says why and what to do, and later starts do not try again', async () => {
  await put('spare-a', 'spare-b')
  const offline = await manifest()
  await new Promise((resolve) => server.close(resolve))
  expect(await choose({ manifest: offline })).toBe('spare')
  expect(said.at(-1)).toMatch(
    /^Runs with the model set spare\. The preferred set best lacks .*best-a\.onnx, .*best-b\.onnx \(.*\): .*ECONNREFUSED.*npx liveness models download", or put /,
  )
  said = []
  expect(await choose({ manifest: offline })).toBe('spare')
  expect(said).toEqual([
    expect.stringMatching(/^Runs with the model set spare\..*an earlier start could not fetch them/),
  ])
})

test('another version of the best set is tried anew', async () => {
  await put('spare-a', 'spare-b')
  answer = () => null
  expect(await choose()).toBe('spare')
  expect(asked).toEqual(['best-a'])
  const newer = await manifest()
  const { best } = newer.sets
  if (best) best.version = '9.9.9'
  answer = (path) => path
  expect(await choose({ manifest: newer })).toBe('best')
})

test('a file that is not the one expected is not kept, and the next set runs', async () => {
  await put('spare-a', 'spare-b')
  answer = (path) => path.replace('best', 'evil')
  expect(await choose()).toBe('spare')
  expect(said.at(-1)).toMatch(/does not hold the expected file/)
  expect((await readdir(modelsDir)).filter((name) => name.includes('best'))).toEqual([])
})

test('a server that falls silent delays the start by the time-out only', async () => {
  await put('spare-a', 'spare-b')
  answer = () => 'silence'
  expect(await choose({ idleMs: 100 })).toBe('spare')
  expect(said.at(-1)).toMatch(/nothing was received for 0\.1 s/)
  await rm(join(dataDir, 'model-download.json'))
  expect(await choose({ limitMs: 100 })).toBe('spare')
  expect(said.at(-1)).toMatch(/could not be downloaded/)
})

test('no download begins that cannot complete the set', async () => {
  await put('spare-a', 'spare-b')
  expect(await choose({ manifest: await manifest(['best-b']) })).toBe('spare')
  expect(said).toEqual([expect.stringMatching(/lacks .*best-b\.onnx .*: 1 of them has no public address; put /)])
  expect(asked).toEqual([])
  expect(await readdir(dataDir)).toEqual([])
})

test('a damaged file of the best set is fetched again, and that is a warning which names it', async () => {
  await put(...names)
  await writeFile(join(modelsDir, file('best-a')), 'damage')
  expect(await choose()).toBe('best')
  expect(asked).toEqual(['best-a'])
  expect(said[0]).toMatch(/^Fetching .* It cannot use .*best-a\.onnx, which is damaged or another version\.$/)
  expect(said[0]).toContain(join(modelsDir, file('best-a')))
  expect(levels).toEqual(['warn', 'info'])
})

test('a damaged file is told apart from a missing one, each with where it is or was looked for, as a warning', async () => {
  await put('spare-a', 'spare-b')
  await writeFile(join(modelsDir, file('best-a')), 'damage')
  answer = () => null
  expect(await choose()).toBe('spare')
  expect(said.at(-1)).toMatch(
    /The preferred set best lacks [^ ]*best-b\.onnx \(looked in .* and .*models\/\) and cannot use [^ ]*best-a\.onnx, which is damaged or another version: .*404/,
  )
  for (const part of [modelsDir, packagedModels, join(modelsDir, file('best-a'))]) expect(said.at(-1)).toContain(part)
  // The folder is set: what to do is to fill it.
  expect(said.at(-1)).toContain(`or put the right files into ${modelsDir} (`)
  expect(said.at(-1)).not.toContain('set MODELS_DIR')
  expect(levels).toEqual(['warn', 'warn'])
})

test('what the process may not read is said with the reason, and nothing is fetched in its place', async () => {
  await put('best-b', 'spare-a', 'spare-b')
  await mkdir(join(modelsDir, file('best-a')))
  expect(await choose()).toBe('spare')
  expect(said).toEqual([expect.stringMatching(/cannot read [^ ]*best-a\.onnx \(it is a folder\): /)])
  expect([asked, levels]).toEqual([[], ['warn']])
})

test('without a MODELS_DIR a set that merely lacks files is no warning', async () => {
  const shipped = await loadManifest()
  const offline = await manifest(['best-a', 'best-b'])
  // What the spare set needs is in packages and in the repository.
  const both: Manifest = {
    models: { ...shipped.models, ...offline.models },
    detectors: { ...shipped.detectors, ...offline.detectors },
    sets: { ...shipped.sets, ...offline.sets },
    preferred: ['best', 'own'],
  }
  expect(await choose({ manifest: both, modelsDir: undefined })).toBe('own')
  expect(said).toEqual([
    expect.stringMatching(/2 of them have no public address; set MODELS_DIR to a folder that holds/),
  ])
  expect(levels).toEqual(['info'])
})

test('with no other set complete the best is named, so that loading it says what is missing', async () => {
  expect(await choose()).toBe('best')
  expect(asked).toEqual([])
  expect((await bestPresent(await manifest(), modelsDir)).name).toBe('best')
  await put('spare-a', 'spare-b')
  expect((await bestPresent(await manifest(), modelsDir)).name).toBe('spare')
})
