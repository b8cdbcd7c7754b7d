/** `liveness models` on a MODELS_DIR of the test's own. */
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { addModelCommands } from '../../src/cli/models.ts'
import { commandsHere } from '../support/here.ts'

const here = commandsHere(addModelCommands)
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'models-'))
})
afterEach(() => rm(folder, { recursive: true }))

test('verify names the set it verified, and what keeps the preferred one from running', async () => {
  const damaged = join(folder, 'minifas_se_128.onnx')
  await writeFile(damaged, 'damage')
  const warnings: string[] = []
  const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((text) => warnings.push(String(text)) > 0)
  const text = await here({ MODELS_DIR: folder, MODEL_SET: '' }, 'models', 'verify')
  const json = await here({ MODELS_DIR: folder, MODEL_SET: '' }, 'models', 'verify', '--json')
  stderr.mockRestore()
  expect(text.failure).toBe('')
  expect(text.printed).toMatch(/^Model set own \d+\.\d+\.\d+\npresent .*own_liveness\.onnx$/ms)
  expect(warnings[0]).toContain('The preferred set ensemble ')
  expect(warnings[0]).toContain(`cannot use ${damaged}, which is damaged or another version`)
  for (const line of json.printed.trim().split('\n')) expect(JSON.parse(line)).toMatchObject({ set: 'own' })
})

test('verify and list refuse a MODELS_DIR that does not exist', async () => {
  for (const command of ['verify', 'list']) {
    const { printed, failure } = await here({ MODELS_DIR: join(folder, 'none') }, 'models', command)
    expect([printed, failure]).toEqual(['', expect.stringMatching(/^MODELS_DIR must be a folder.*does not exist\./)])
  }
})

test('download refuses a folder that nothing can be written into before it asks a server', async () => {
  const file = join(folder, 'file')
  await writeFile(file, '')
  const into = (path: string) => here({}, 'models', 'download', '--into', path)
  expect((await into(file)).failure).toBe(
    `Nothing can be written into ${file}: it is a file. Name another folder with --into.`,
  )
  expect((await into(join(file, 'below'))).failure).toContain('it lies below a file.')
  // A folder whose parent is there, and which cannot be made all the same.
  if (process.platform === 'linux') expect((await into('/proc/none')).failure).toMatch(/^Nothing can be written into/)
})

test('download makes the folder that it is told, with those above it', async () => {
  const deep = join(folder, 'a', 'b')
  const there = join(deep, 'own')
  await here({ MODEL_SET: 'own' }, 'models', 'download', '--into', there)
  expect((await stat(there)).isDirectory()).toBe(true)
})
