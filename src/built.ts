/**
 * The compiled twin of a module that runs in its own thread or process.
 *
 * Workers and child processes are started from JavaScript files. In production `importMetaUrl` already lies in dist/;
 * under vitest it lies in src/, and the twin is the file that `npm run build` put into dist/ (pretest builds it).
 *
 * @param importMetaUrl `import.meta.url` of the caller
 * @param relative path from the caller to the module, ending in .js
 */
export function builtModule(importMetaUrl: string, relative: string): URL {
  const url = new URL(relative, importMetaUrl)
  const root = new URL('../', import.meta.url).href // this file lies directly in src/ or dist/
  return new URL(url.href.replace(`${root}src/`, `${root}dist/`))
}

/** The package's root folder: the parent of src/ and of dist/. */
export const packageRoot = new URL('../', import.meta.url)
