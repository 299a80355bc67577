package agent

import "example.com/kpls-agent/internal/restart"

// Point is an instant at which a test may end an agent process: before or after an
// action that leaves a mark outside of the process.
type Point string

// The points of a restart, in its order.
const (
	BeforeAppend       Point = "before-append" // a claim, a status and a release, or a halt
	AfterAppend        Point = "after-append"
	BeforeSaveApply    Point = "before-save-apply"
	AfterSaveApply     Point = "after-save-apply"
	BeforeApply        Point = "before-apply-at-apply"
	AfterApply         Point = "after-apply-at-apply"
	BeforeBegin        Point = "before-begin-at-apply"
	BeforeSaveRestart  Point = "before-save-restart"
	AfterSaveRestart   Point = "after-save-restart"
	BeforeRestart      Point = "before-restart-at-restart"
	AfterRestart       Point = "after-restart-at-restart"
	BeforeSaveProve    Point = "before-save-prove"
	AfterSaveProve     Point = "after-save-prove"
	BeforeEnd          Point = "before-end-at-prove"
	BeforeSaveRest     Point = "before-save-rest"
	AfterSaveRest      Point = "after-save-rest"
	BeforeSaveRestore  Point = "before-save-restore" // from here on: of a rollback
	AfterSaveRestore   Point = "after-save-restore"
	BeforeRestore      Point = "before-restore-at-restore"
	AfterRestore       Point = "after-restore-at-restore"
	BeforeSaveUndo     Point = "before-save-undo"
	AfterSaveUndo      Point = "after-save-undo"
	BeforeUndo         Point = "before-restart-at-undo"
	AfterUndo          Point = "after-restart-at-undo"
	BeforeSaveProveOld Point = "before-save-prove_undo"
	AfterSaveProveOld  Point = "after-save-prove_undo"
)

// RollOutPoints are the points of a restart that goes well, in its order.
func RollOutPoints() []Point {
	return []Point{
		BeforeAppend, AfterAppend, BeforeSaveApply, AfterSaveApply, BeforeApply, AfterApply, BeforeBegin,
		BeforeSaveRestart, AfterSaveRestart, BeforeRestart, AfterRestart, BeforeSaveProve, AfterSaveProve, BeforeEnd,
		BeforeSaveRest, AfterSaveRest,
	}
}

// RollBackPoints are the points of a rollback, in its order.
func RollBackPoints() []Point {
	return []Point{
		BeforeSaveRestore, AfterSaveRestore, BeforeRestore, AfterRestore,
		BeforeSaveUndo, AfterSaveUndo, BeforeUndo, AfterUndo, BeforeSaveProveOld,
		AfterSaveProveOld,
		BeforeSaveRest,
		AfterSaveRest,
	}
}

// pointOf names an action, where a journal is at a step, without before or after.
func pointOf(do restart.Action, at restart.Stage) string {
	switch {
	case do.Kind == restart.ActSave && do.Journal.Stage == restart.StageNone:
		return "save-rest"
	case do.Kind == restart.ActSave:
		return "save-" + string(do.Journal.Stage)
	case at != restart.StageNone:
		return string(do.Kind) + "-at-" + string(at)
	default:
		return string(do.Kind)
	}
}
