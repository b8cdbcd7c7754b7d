/** The Dockerfile as far as it says which files are in the image, and that set of files in a folder. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './compose-file.ts'

export interface Copy {
  /** A stage of the build, or undefined for the build context. */
  readonly from: string | undefined
  readonly sources: readonly string[]
  readonly to: string
}

export interface Stage {
  readonly base: string
  readonly name: string | undefined
  readonly copies: readonly Copy[]
}

export const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8').replaceAll('\\\n', ' ')

/** The stages in order; the last one is the image. */
export function stages(): Stage[] {
  const found: { base: string; name: string | undefined; copies: Copy[] }[] = []
  for (const line of dockerfile.split('\n')) {
    const [, base, name] = /^FROM (\S+)(?: AS (\S+))?$/.exec(line) ?? []
    if (base !== undefined) found.push({ base, name, copies: [] })
    if (!line.startsWith('COPY ')) continue
    const words = line.split(/\s+/).slice(1)
    const from = words.find((word) => word.startsWith('--from='))?.slice('--from='.length)
    const paths = words.filter((word) => !word.startsWith('--'))
    found.at(-1)?.copies.push({ from, sources: paths.slice(0, -1), to: paths.at(-1) ?? '' })
  }
  return found
}

/** Whether the builder is sent a path: .dockerignore ignores all, then names what it keeps. */
export function isInContext(path: string): boolean {
  const kept = readFileSync(join(root, '.dockerignore'), 'utf8')
    .split('\n')
    .flatMap((line) => /^!(.+)$/.exec(line)?.[1] ?? [])
  return kept.some((keep) => path === keep || path.startsWith(`${keep}/`))
}

const inPlace = (to: string) => (to.startsWith('/') ? to : join('/app', to))

/** Copies trees, by hard links where the file system allows it: there are a few hundred megabytes of packages. */
function copyTrees(folder: string, paths: readonly string[], ...to: string[]): void {
  try {
    execFileSync('cp', ['-al', ...to.slice(1), ...paths, to[0] ?? ''], { cwd: folder, stdio: 'ignore' })
  } catch {
    execFileSync('cp', ['-a', ...to.slice(1), ...paths, to[0] ?? ''], { cwd: folder })
  }
}

/** What `npm ci --omit=dev` installs: the lockfile's packages that are here and of no use to development alone. */
function copyProductionPackages(into: string): void {
  const { packages }: { packages: Record<string, { dev?: true; devOptional?: true }> } = JSON.parse(
    readFileSync(join(root, 'package-lock.json'), 'utf8'),
  )
  const here = Object.entries(packages).filter(([path]) => path !== '' && existsSync(join(root, path)))
  const wanted = here.filter(([, { dev, devOptional }]) => !dev && !devOptional).map(([path]) => path)
  const outermost = wanted.filter((path) => path.lastIndexOf('node_modules/') === 0)
  copyTrees(root, outermost, into, '--parents')
  for (const [path, { dev, devOptional }] of here) {
    if (dev || devOptional) rmSync(join(into, path), { recursive: true, force: true })
  }
  const runtimes = join(into, 'node_modules/onnxruntime-node/bin')
  for (const version of readdirSync(runtimes)) {
    for (const system of ['darwin', 'win32']) rmSync(join(runtimes, version, system), { recursive: true })
  }
}

/** Makes the files of the image's last stage below `into`, from this clone as it is built. */
export function buildFileSet(into: string): void {
  for (const { from, sources, to } of stages().at(-1)?.copies ?? []) {
    const target = join(into, inPlace(to))
    mkdirSync(to.endsWith('/') ? target : dirname(target), { recursive: true })
    if (from === 'dependencies') copyProductionPackages(dirname(target))
    else
      copyTrees(
        root,
        sources.map((source) => source.replace(/^\/app\//, '')),
        target,
      )
  }
}
