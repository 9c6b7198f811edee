package sqlite

import lib "modernc.org/sqlite/lib"

// DBConfigOp names an option of Conn.DBConfig.
type DBConfigOp int32

// Options of a connection.
const (
	ConfigEnableFKey         DBConfigOp = lib.SQLITE_DBCONFIG_ENABLE_FKEY
	ConfigEnableTrigger      DBConfigOp = lib.SQLITE_DBCONFIG_ENABLE_TRIGGER
	ConfigEnableView         DBConfigOp = lib.SQLITE_DBCONFIG_ENABLE_VIEW
	ConfigDefensive          DBConfigOp = lib.SQLITE_DBCONFIG_DEFENSIVE
	ConfigWritableSchema     DBConfigOp = lib.SQLITE_DBCONFIG_WRITABLE_SCHEMA
	ConfigTrustedSchema      DBConfigOp = lib.SQLITE_DBCONFIG_TRUSTED_SCHEMA
	ConfigDQSDML             DBConfigOp = lib.SQLITE_DBCONFIG_DQS_DML
	ConfigDQSDDL             DBConfigOp = lib.SQLITE_DBCONFIG_DQS_DDL
	ConfigLegacyAlterTable   DBConfigOp = lib.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE
	ConfigNoCkptOnClose      DBConfigOp = lib.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
	ConfigResetDatabase      DBConfigOp = lib.SQLITE_DBCONFIG_RESET_DATABASE
	ConfigEnableAttachCreate DBConfigOp = lib.SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE
	ConfigEnableAttachWrite  DBConfigOp = lib.SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE
)

// LimitID names a limit of Conn.Limit.
type LimitID int32

// Run-time limits.
const (
	LimitLength        LimitID = lib.SQLITE_LIMIT_LENGTH
	LimitSQLLength     LimitID = lib.SQLITE_LIMIT_SQL_LENGTH
	LimitColumn        LimitID = lib.SQLITE_LIMIT_COLUMN
	LimitExprDepth     LimitID = lib.SQLITE_LIMIT_EXPR_DEPTH
	LimitCompound      LimitID = lib.SQLITE_LIMIT_COMPOUND_SELECT
	LimitVdbeOp        LimitID = lib.SQLITE_LIMIT_VDBE_OP
	LimitFunctionArg   LimitID = lib.SQLITE_LIMIT_FUNCTION_ARG
	LimitAttached      LimitID = lib.SQLITE_LIMIT_ATTACHED
	LimitLikePattern   LimitID = lib.SQLITE_LIMIT_LIKE_PATTERN_LENGTH
	LimitVariable      LimitID = lib.SQLITE_LIMIT_VARIABLE_NUMBER
	LimitTriggerDepth  LimitID = lib.SQLITE_LIMIT_TRIGGER_DEPTH
	LimitWorkerThreads LimitID = lib.SQLITE_LIMIT_WORKER_THREADS
)

// CheckpointMode says how hard Checkpoint tries.
type CheckpointMode int32

// Checkpoint modes.
const (
	CheckpointPassive  CheckpointMode = lib.SQLITE_CHECKPOINT_PASSIVE
	CheckpointFull     CheckpointMode = lib.SQLITE_CHECKPOINT_FULL
	CheckpointRestart  CheckpointMode = lib.SQLITE_CHECKPOINT_RESTART
	CheckpointTruncate CheckpointMode = lib.SQLITE_CHECKPOINT_TRUNCATE
)
