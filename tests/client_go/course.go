package main

import (
	"context"
	"sync/atomic"
)

// course leads workers, which never pause, past milestones. What happens between two milestones happens while all of
// them are at work.
type course struct {
	workers int64
	current atomic.Pointer[milestone]
	over    atomic.Bool
}

// milestone is reached when every worker has taken its steps since it was set.
type milestone struct {
	steps   int
	missing atomic.Int64
	reached chan struct{}
}

func newCourse(workers int) *course {
	return &course{workers: int64(workers)}
}

// await sets a milestone and waits until it is reached.
func (c *course) await(ctx context.Context, steps int) error {
	next := &milestone{steps: steps, reached: make(chan struct{})}
	next.missing.Store(c.workers)
	c.current.Store(next)
	select {
	case <-next.reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end tells every worker to return after what it is doing.
func (c *course) end() {
	c.over.Store(true)
}

// pace counts the steps of one worker.
type pace struct {
	course *course
	toward *milestone
	steps  int
}

func (c *course) join() *pace {
	return &pace{course: c}
}

// goesOn tells whether the worker has more to do.
func (p *pace) goesOn(ctx context.Context) bool {
	return !p.course.over.Load() && ctx.Err() == nil
}

// step counts something that was done and acknowledged.
func (p *pace) step() {
	if current := p.course.current.Load(); current != p.toward {
		p.toward, p.steps = current, 0
	}
	p.steps++
	if p.toward != nil && p.steps == p.toward.steps && p.toward.missing.Add(-1) == 0 {
		close(p.toward.reached)
	}
}
