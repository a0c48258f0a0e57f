// Package checkpoint stores the state of a training as folders that are verified when they are read.
//
// Store writes and finds the checkpoints of a run, State holds the arenas that they save, Open reads one for use. A
// checkpoint is a folder of three files, see ModelFile; the text files latest and best in the same folder name one each.
//
// Why text files and no links: links do not survive every copy.
package checkpoint
