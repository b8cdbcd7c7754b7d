/** Style as a test: who may import what, how long a file may grow, and which words have no place here. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { packageRoot } from '../src/built.ts'

const root = fileURLToPath(packageRoot)
const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
const files = listed
  .toString()
  .split('\0')
  .filter((file) => file !== '' && existsSync(join(root, file)))
const code = files.filter((file) => /\.tsx?$/.test(file))
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** Modules a file imports: packages by name, own files by their path from the root. */
function importsOf(file: string): string[] {
  return [
    ...read(file).matchAll(/^\s*(?:import|export)\s(?:[^'"]*?from\s)?['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)/gm),
  ]
    .map(([, name, lazy]) => name ?? lazy ?? '')
    .map((name) => (name.startsWith('.') ? normalize(join(dirname(file), name)) : name))
}

const only = (modules: RegExp, allowed: RegExp) =>
  code
    .filter((file) => file.startsWith('src/') && !allowed.test(file))
    .flatMap((file) =>
      importsOf(file)
        .filter((name) => modules.test(name))
        .map((name) => `${file} → ${name}`),
    )

test('only src/eventstore imports the event store client', () => {
  expect(only(/^@eventstore\/|^@grpc\/|^google-protobuf/, /^src\/eventstore\//)).toEqual([])
})
test('only the relay and the feed import the Kafka client, only src/marketplace the AWS SDK', () => {
  expect(only(/^kafkajs$/, /^src\/(relay\/(topic|kafka-settings)|metering\/kafka-(feed|place|items))\.ts$/)).toEqual([])
  expect(only(/^@aws-sdk\//, /^src\/marketplace\//)).toEqual([])
})
test('http imports nothing of Postgres, the event store client or Kafka', () => {
  const found = code
    .filter((file) => file.startsWith('src/http/'))
    .flatMap((file) => importsOf(file).filter((name) => /^(pg|kafkajs|@eventstore\/.*)$/.test(name)))
  expect(found).toEqual([])
})
test('events, deciders, folds and their arithmetic do no input or output', () => {
  const pure = code.filter((file) =>
    /^src\/(events\/|commands\/(customer|state|plans|idempotency)\.ts|metering\/(assign|fold|meter|record|rules|seal|answers|give-up|close)\.ts|relay\/feed\.ts|statements\/month\.ts|audit\/(merkle|anchor)\.ts)/.test(
      file,
    ),
  )
  expect(pure.length).toBeGreaterThan(6)
  const impure = pure.flatMap((file) =>
    importsOf(file)
      .filter((name) => /^(pg|kafkajs|node:(fs|net|http|child_process|timers).*|@eventstore.*|fastify.*)$/.test(name))
      .map((name) => `${file} → ${name}`),
  )
  expect(impure).toEqual([])
})
test('nothing but the composition root imports it', () => {
  expect(only(/^src\/(main|cli)\.ts$/, /^src\/(main|cli)\.ts$|^src\/(cli|demo|app)\//)).toEqual([])
})
test('a file has one job: below 300 lines, the tests below 500', () => {
  const long = code
    .map((file) => ({ file, lines: read(file).split('\n').length }))
    .filter(({ file, lines }) => lines > (file.startsWith('src/') ? 320 : 500))
  expect(long).toEqual([])
})
test('no suppressed check, no forgotten focus', () => {
  const words = /@ts-ignore|@ts-expect-error|(?:test|it|describe)\.only\(/
  expect(code.filter((file) => file !== 'test/tidy.spec.ts' && words.test(read(file)))).toEqual([])
})
test('every source file is used', () => {
  const used = new Set(code.flatMap(importsOf))
  const started = code.flatMap((file) =>
    [...read(file).matchAll(/builtModule\([^,]+,\s*'([^']+)\.js'/g)].map(([, name = '']) =>
      normalize(join(dirname(file), `${name}.ts`)),
    ),
  )
  const entries = new Set([...used, ...started, 'src/cli.ts'])
  expect(code.filter((file) => file.startsWith('src/') && !entries.has(file))).toEqual([])
})
