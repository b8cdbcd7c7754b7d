/** The image without an engine: its files, as the Dockerfile copies them, are all that the program needs to run. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../support/ports.ts'
import { root } from './compose-file.ts'
import { buildFileSet, dockerfile, isInContext, stages } from './dockerfile.ts'

describe('the Dockerfile', () => {
  test('copies nothing that is not there, or that the builder is not sent', () => {
    for (const { copies } of stages()) {
      for (const { from, sources } of copies) {
        if (from !== undefined) {
          expect(stages().map(({ name }) => name)).toContain(from)
          continue
        }
        for (const source of sources) {
          expect(existsSync(join(root, source)), source).toBe(true)
          expect(isInContext(source), source).toBe(true)
        }
      }
    }
    for (const secret of ['.env', 'secrets/secrets-key', '.git/config', 'data', 'node_modules', 'test']) {
      expect(isInContext(secret), secret).toBe(false)
    }
  })

  test('starts from a pinned glibc base, ends without root and without the tools that built it', () => {
    expect(stages()[0]?.base).toMatch(/^node:\d+-bookworm-slim$/)
    expect(dockerfile).toMatch(/^USER 1000:1000$/m)
    expect(dockerfile.indexOf('USER 1000:1000')).toBeGreaterThan(dockerfile.lastIndexOf('COPY'))
    const image = stages().at(-1)
    const packages = image?.copies.filter(({ sources }) => sources.some((source) => source.endsWith('node_modules')))
    expect(packages?.map(({ from }) => from)).toEqual(['dependencies'])
    expect(dockerfile).toMatch(/npm ci --omit=dev/)
    expect(dockerfile).toMatch(/^ENV ONNXRUNTIME_NODE_INSTALL=skip$/m)
  })

  test('fails to build where the weights that will run are missing or damaged', () => {
    const weights = dockerfile.split('\n').find((line) => line.includes('models download'))
    expect(weights).toMatch(/models download; node dist\/cli\.js models verify$/)
  })
})

describe('the image’s files', () => {
  const image = mkdtempSync(join(tmpdir(), 'liveness-image-'))
  const data = mkdtempSync(join(tmpdir(), 'liveness-image-data-'))
  let app: ChildProcess | undefined
  let url: string
  let operations: string
  let output = ''

  beforeAll(async () => {
    buildFileSet(image)
    chmodSync(image, 0o755)
    // As in the container: the folder for data is the user's, nothing else is.
    const asRoot = process.getuid?.() === 0
    if (asRoot) chownSync(data, 1000, 1000)
    mkdirSync(join(data, 'data'), { mode: 0o700 })
    if (asRoot) chownSync(join(data, 'data'), 1000, 1000)
    url = `http://127.0.0.1:${await freePort()}`
    operations = `http://127.0.0.1:${await freePort()}`
    app = spawn(process.execPath, ['dist/cli.js', 'start'], {
      cwd: join(image, 'app'),
      ...(asRoot ? { uid: 1000, gid: 1000 } : {}),
      env: {
        PATH: process.env.PATH,
        NODE_ENV: 'production',
        DATA_DIR: join(data, 'data'),
        HOST: '127.0.0.1',
        PORT: new URL(url).port,
        OPERATIONS_PORT: new URL(operations).port,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    app.stdout?.on('data', (chunk) => {
      output += chunk
    })
    app.stderr?.on('data', (chunk) => {
      output += chunk
    })
    const ready = () =>
      fetch(`${operations}/ready`).then(
        ({ ok }) => ok,
        () => false,
      )
    for (const deadline = Date.now() + 90_000; !(await ready()); await pause(100)) {
      if (app.exitCode !== null || Date.now() > deadline) throw new Error(`the image's files do not run:\n${output}`)
    }
  }, 120_000)

  afterAll(async () => {
    if (app !== undefined && app.exitCode === null) {
      const ended = new Promise((resolve) => app?.once('exit', resolve))
      app.kill('SIGTERM')
      await ended
    }
    rmSync(image, { recursive: true, force: true })
    rmSync(data, { recursive: true, force: true })
  }, 60_000)

  test('hold no tool of development', () => {
    for (const name of ['typescript', 'vitest', '@biomejs/biome', 'testcontainers']) {
      expect(existsSync(join(image, 'app/node_modules', name)), name).toBe(false)
    }
    const sources = readdirSync(join(image, 'app/src'), { recursive: true }).filter((name) =>
      /\.tsx?$/.test(String(name)),
    )
    expect(sources).toEqual([])
  })

  test.each(['/v1/health', '/ready', '/metrics', '/docs', '/console/sign-in', '/console/reset'])(
    'the program that runs from them as a user without rights answers GET %s',
    async (path) => {
      // A look at the servers that takes too long is answered with 503.
      await expect.poll(async () => (await fetch(`${url}${path}`)).status).toBe(200)
    },
  )

  test('it has migrated its database and made a customer, and answers a call with their key', async () => {
    const key = () => /lc_[0-9A-Za-z]{29}/.exec(output)?.[0]
    await expect.poll(key, { timeout: 25_000 }).toBeDefined()
    const answer = await fetch(`${url}/v1/usage`, { headers: { 'X-API-Key': key() ?? '' } })
    expect(answer.status, output).toBe(200)
  })
})
