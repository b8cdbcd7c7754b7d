import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DownloadFailed, downloadWeights } from '../../src/inference/download.ts'
import { loadManifest, type Model } from '../../src/inference/manifest.ts'
import { sha256Of } from '../../src/inference/weights.ts'

const template = (await loadManifest()).models.face_detection_yunet as Model
const content = randomBytes(1_000_000)

let folder: string
let server: Server | undefined
/** The Range header of each request, in order. */
let ranges: (string | undefined)[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'download-'))
  ranges = []
})
afterEach(async () => {
  server?.closeAllConnections()
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)))
  server = undefined
  await rm(folder, { recursive: true })
})

async function serve(answer: RequestListener): Promise<Model> {
  server = createServer((request, response) => {
    ranges.push(request.headers.range)
    answer(request, response)
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  return model(`http://127.0.0.1:${(server.address() as AddressInfo).port}/detector.onnx`)
}

function model(url: string, bytes = content): Model {
  return { ...template, file: 'detector.onnx', url, bytes: bytes.length, sha256: sha256Of(bytes) }
}

/** A file server that knows ranges and ends the connection after so many bytes of the first answer. */
const flaky = (cutAfter: number): RequestListener => {
  let first = true
  return (request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    const head = {
      'content-length': content.length - from,
      'content-range': `bytes ${from}-${content.length - 1}/${content.length}`,
    }
    response.writeHead(from > 0 ? 206 : 200, head)
    if (!first) return response.end(content.subarray(from))
    first = false
    return response.write(content.subarray(from, from + cutAfter), () => response.destroy())
  }
}

test('a file is downloaded, verified, put in place, and progress is told to the last byte', async () => {
  const wanted = await serve((_, response) => response.end(content))
  const progress: [string, number, number][] = []
  const into = join(folder, 'new', 'folder')
  const outcome = await downloadWeights({ models: [wanted], into, onProgress: (...step) => progress.push(step) })
  expect(outcome).toEqual([{ file: 'detector.onnx', outcome: 'downloaded' }])
  expect((await readFile(join(into, 'detector.onnx'))).equals(content)).toBe(true)
  expect(await readdir(into)).toEqual(['detector.onnx'])
  expect(progress.at(-1)).toEqual(['detector.onnx', 1_000_000, 1_000_000])
})

test('an interrupted download says so, keeps what it has, and is continued where it stopped', async () => {
  const wanted = await serve(flaky(300_000))
  await expect(downloadWeights({ models: [wanted], into: folder })).rejects.toThrow(/of 1000000 bytes are kept; run/)
  expect(await readdir(folder)).toEqual(['detector.onnx.part'])
  const kept = (await readFile(join(folder, 'detector.onnx.part'))).length
  expect(kept).toBeGreaterThan(0)
  expect(kept).toBeLessThanOrEqual(300_000)
  const progress: number[] = []
  await downloadWeights({ models: [wanted], into: folder, onProgress: (_, bytes) => progress.push(bytes) })
  expect(ranges).toEqual([undefined, `bytes=${kept}-`])
  expect(progress[0]).toBeGreaterThan(kept)
  expect((await readFile(join(folder, 'detector.onnx'))).equals(content)).toBe(true)
  expect(await readdir(folder)).toEqual(['detector.onnx'])
})

test('a server that does not know ranges is read from the start', async () => {
  const wanted = await serve((_, response) => response.end(content))
  await writeFile(join(folder, 'detector.onnx.part'), 'something else')
  await downloadWeights({ models: [wanted], into: folder })
  expect(ranges).toEqual(['bytes=14-'])
  expect((await readFile(join(folder, 'detector.onnx'))).equals(content)).toBe(true)
})

test('a file that is whole already is not asked for again', async () => {
  const wanted = await serve((_, response) => response.end(content))
  await writeFile(join(folder, 'detector.onnx'), content)
  expect(await downloadWeights({ models: [wanted], into: folder })).toEqual([
    { file: 'detector.onnx', outcome: 'already there' },
  ])
  expect(ranges).toEqual([])
})

test('a damaged file in place is replaced', async () => {
  const wanted = await serve((_, response) => response.end(content))
  await writeFile(join(folder, 'detector.onnx'), 'damaged')
  await downloadWeights({ models: [wanted], into: folder })
  expect((await readFile(join(folder, 'detector.onnx'))).equals(content)).toBe(true)
})

test.each([
  ['of the same length', randomBytes(content.length)],
  ['longer', randomBytes(content.length + 70_000)],
])('another file, %s, is refused with both checksums and nothing is kept', async (_, other) => {
  const wanted = await serve((_request, response) => response.end(other))
  const error = await downloadWeights({ models: [wanted], into: folder }).catch((reason: Error) => reason)
  expect(error).toBeInstanceOf(DownloadFailed)
  expect((error as Error).message).toMatch(new RegExp(`SHA-256 is [0-9a-f]{64}.*expects ${wanted.sha256}`))
  expect(await readdir(folder)).toEqual([])
})

test('a continued download whose first part was damaged is refused, and the next run starts afresh', async () => {
  const wanted = await serve(flaky(Number.POSITIVE_INFINITY))
  await writeFile(join(folder, 'detector.onnx.part'), randomBytes(1000))
  server?.removeAllListeners('request').on('request', (request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    response.writeHead(from > 0 ? 206 : 200, {
      'content-range': `bytes ${from}-${content.length - 1}/${content.length}`,
    })
    response.end(content.subarray(from))
  })
  await expect(downloadWeights({ models: [wanted], into: folder })).rejects.toThrow(/Nothing was kept/)
  await downloadWeights({ models: [wanted], into: folder })
  expect((await readFile(join(folder, 'detector.onnx'))).equals(content)).toBe(true)
})

test('an answer that is not success is told with its status', async () => {
  const wanted = await serve((_, response) => response.writeHead(404).end())
  await expect(downloadWeights({ models: [wanted], into: folder })).rejects.toThrow(/the server answered 404 Not Found/)
})

test('offline, the message says so and what to do', async () => {
  const { url = '' } = await serve((_, response) => response.end())
  await new Promise((resolve) => server?.close(resolve))
  server = undefined
  const error = await downloadWeights({ models: [model(url)], into: folder }).catch((reason: Error) => reason)
  expect(error).toBeInstanceOf(DownloadFailed)
  expect((error as Error).message).toMatch(/detector\.onnx could not be downloaded.*ECONNREFUSED.*MODELS_DIR/)
})

test('a server that falls silent is given up', async () => {
  const wanted = await serve((_, response) => response.write(content.subarray(0, 1000)))
  await expect(downloadWeights({ models: [wanted], into: folder, idleMs: 200 })).rejects.toThrow(
    /nothing was received for 0.2 s/,
  )
})

test('a file without an address is told as such, with its origin, and the others are still fetched', async () => {
  const wanted = await serve((_, response) => response.end(content))
  const { url: _, ...converted } = { ...wanted, file: 'converted.onnx', conversion: 'Converted by hand.' }
  const outcome = await downloadWeights({ models: [converted, wanted], into: folder })
  expect(outcome[0]).toMatchObject({ file: 'converted.onnx', outcome: 'not downloadable' })
  expect(outcome[0]).toMatchObject({ reason: expect.stringMatching(/Converted by hand\. Source: https:.*commit/) })
  expect(outcome[1]).toEqual({ file: 'detector.onnx', outcome: 'downloaded' })
})
