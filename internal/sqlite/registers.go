package sqlite

import (
	"unsafe"

	lib "modernc.org/sqlite/lib"
)

// Registers returns how many values the statement holds at a time at most, with
// those of the triggers that run within one another. What a foreign key's
// actions hold when they go around in a circle is counted once.
func (s *Stmt) Registers() int {
	if s.p == 0 {
		return 0
	}
	v := (*lib.TVdbe)(ptr(s.p))
	if v.FpProgram == 0 {
		return int(v.FnMem)
	}
	f := frames{below: map[uintptr]int{}}
	n := f.deepest(v.FaOp, v.FnOp)
	if f.circle { // each is active once, but in any order
		n = 0
		for p := v.FpProgram; p != 0; p = (*lib.TSubProgram)(ptr(p)).FpNext {
			n += int((*lib.TSubProgram)(ptr(p)).FnMem)
		}
	}
	return int(v.FnMem) + n
}

// HasTriggers reports whether the statement may run triggers, or actions of
// foreign keys.
func (s *Stmt) HasTriggers() bool { return s.p != 0 && (*lib.TVdbe)(ptr(s.p)).FpProgram != 0 }

// frames finds the most registers of programs that are active at a time.
type frames struct {
	below  map[uintptr]int // registers of a program and those that it calls, -1 while they are looked at
	circle bool            // a program calls itself
}

// deepest returns the registers of the programs that these operations call.
func (f *frames) deepest(ops uintptr, n int32) int {
	most := 0
	for _, op := range unsafe.Slice((*lib.TVdbeOp)(ptr(ops)), n) {
		if op.Fopcode == lib.OP_Program && op.Fp4type == lib.P4_SUBPROGRAM {
			most = max(most, f.program(*(*uintptr)(unsafe.Pointer(&op.Fp4))))
		}
	}
	return most
}

func (f *frames) program(p uintptr) int {
	switch n, ok := f.below[p]; {
	case n < 0:
		f.circle = true
		return 0
	case ok:
		return n
	}
	f.below[p] = -1
	sub := (*lib.TSubProgram)(ptr(p))
	f.below[p] = int(sub.FnMem) + f.deepest(sub.FaOp, sub.FnOp)
	return f.below[p]
}
