import { writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, expect, test } from 'vitest'
import { readBounded, readPacked, TooLarge } from '../../src/audit/bounded-file.ts'
import { reachableFolder } from '../support/folder.ts'

const folder = reachableFolder('liveness-bounded-')
afterAll(() => rm(folder, { recursive: true, force: true }))
const mib = 1_048_576

test('a file is read whole, packed or not, up to the bound', async () => {
  const [plain, packed] = [join(folder, 'plain'), join(folder, 'packed')]
  writeFileSync(plain, 'é'.repeat(1_000))
  writeFileSync(packed, gzipSync('é'.repeat(1_000)))
  for (const path of [plain, packed]) expect(await readPacked(path, 'file', mib)).toBe('é'.repeat(1_000))
})

test('one without an end, and one that unpacks to too much, are refused in a sentence', async () => {
  await expect(readBounded('/dev/zero', 'anchor', 2 * mib)).rejects.toThrow(
    new TooLarge('/dev/zero is larger than 2 MiB: it is no anchor.'),
  )
  const bomb = join(folder, 'bomb.gz')
  writeFileSync(bomb, gzipSync(Buffer.alloc(8 * mib)))
  await expect(readPacked(bomb, 'log file', 2 * mib)).rejects.toThrow(TooLarge)
})
