//! Scenarios on the shipped binary and real processes, by what they are about.

mod away;
mod commands;
mod console;
mod crash;
mod doctor;
mod ec2_end;
mod ec2_fleet;
mod ec2_identity;
mod ec2_jit;
mod floods;
mod forged;
mod groups;
mod host;
mod interruptions;
mod jit;
mod jit_sources;
mod operators;
mod results;
mod runner;
mod secrets;
mod silent_bus;
mod spent;
mod steps;
mod stops;
mod stuck;
mod unit;
