import { memoryTables } from '../support/memory-tables.ts'
import { meteringTablesContract } from './tables.contract.ts'

meteringTablesContract(async () => memoryTables())
