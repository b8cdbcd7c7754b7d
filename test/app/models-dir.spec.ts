import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { refuseUnusableModelsDir } from '../../src/app/models-dir.ts'
import { ConfigError } from '../../src/config.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'models-dir-'))
})
afterEach(() => rm(folder, { recursive: true }))

const refusal = (MODELS_DIR: string | undefined, options?: { mayBeMade: true }) =>
  refuseUnusableModelsDir({ MODELS_DIR }, options).catch((error: unknown) => {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message
  })

test('none, and a folder that can be read, are accepted', async () => {
  expect([await refusal(undefined), await refusal(folder)]).toEqual([undefined, undefined])
})

test('a folder that does not exist is refused, except by what makes it', async () => {
  const none = join(folder, 'none')
  expect(await refusal(none)).toBe(
    `MODELS_DIR must be a folder that this user may read, but ${none} does not exist. ` +
      'Make it, or unset MODELS_DIR to use models/ of the package.',
  )
  expect(await refusal(none, { mayBeMade: true })).toBeUndefined()
})

test('a file is refused, by a download too', async () => {
  const file = join(folder, 'file')
  await writeFile(file, '')
  expect(await refusal(file)).toMatch(/^MODELS_DIR must be a folder .*file is a file\./)
  expect(await refusal(file, { mayBeMade: true })).toMatch(/is a file\./)
  expect(await refusal(join(file, 'below'))).toMatch(/below lies below a file\./)
})

test('a folder that this user may not read is refused', async () => {
  const inner = join(folder, 'inner')
  await mkdir(inner)
  await chmod(folder, 0o600)
  const isRoot = process.getuid?.() === 0 // who may read every folder
  if (isRoot) process.seteuid?.(65_534)
  try {
    expect(await refusal(inner)).toMatch(/inner may not be read by this user\./)
  } finally {
    if (isRoot) process.seteuid?.(0)
    await chmod(folder, 0o700)
  }
})
