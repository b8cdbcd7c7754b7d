import type { Command } from 'commander'
import { loadConfig } from '../config.ts'
import { printJson, printTable } from './output.ts'

export function addConfigCommand(program: Command): void {
  program
    .command('config')
    .description('every setting, its value with secrets masked, and where it came from')
    .option('--json', 'one JSON array')
    .action(({ json }: { json?: true }) => {
      const { report } = loadConfig()
      if (json) return printJson(report)
      printTable(
        ['SETTING', 'VALUE', 'FROM', 'WHAT IT IS'],
        report.map(({ name, value, from, about }) => [name, value ?? '(not set)', from, about]),
      )
    })
}
