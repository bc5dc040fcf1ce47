//! What the agent asks of AWS: every action it calls and every tag it sets. The code takes both from here and from
//! nowhere else, and a test compares them with the policies that the documentation prints.

/// Declares an enum of names, and the list of all of them.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As AWS writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

names! {
    /// An action, as IAM calls it.
    Action {
        /// Waiting for the JIT configuration.
        GetParameter = "ssm:GetParameter",
        /// Deleting it.
        DeleteParameter = "ssm:DeleteParameter",
        /// Ending the instance.
        TerminateInstances = "ec2:TerminateInstances",
        /// Telling what it does.
        CreateTags = "ec2:CreateTags",
        /// Whether a shutdown ends it.
        DescribeInstanceAttribute = "ec2:DescribeInstanceAttribute",
        /// Ending it through its group.
        TerminateInstanceInAutoScalingGroup = "autoscaling:TerminateInstanceInAutoScalingGroup",
        /// Letting the group go on.
        CompleteLifecycleAction = "autoscaling:CompleteLifecycleAction",
        /// Keeping the group waiting.
        RecordLifecycleActionHeartbeat = "autoscaling:RecordLifecycleActionHeartbeat",
        /// How long the group waits.
        DescribeLifecycleHooks = "autoscaling:DescribeLifecycleHooks",
        /// Which group it is.
        DescribeAutoScalingInstances = "autoscaling:DescribeAutoScalingInstances",
        /// Making the log group.
        CreateLogGroup = "logs:CreateLogGroup",
        /// Making a log stream.
        CreateLogStream = "logs:CreateLogStream",
        /// Shipping log lines.
        PutLogEvents = "logs:PutLogEvents",
    }
}

names! {
    /// The key of a tag that the agent sets on its instance.
    TagKey {
        /// What it is doing.
        Phase = "mayfly:phase",
        /// How its run ended, or will.
        Outcome = "mayfly:outcome",
        /// The run of its job.
        Run = "mayfly:run",
        /// When EC2 takes it.
        InterruptedAt = "mayfly:interrupted-at",
        /// Until when it is kept for a person.
        HeldUntil = "mayfly:held-until",
    }
}

names! {
    /// The key of a tag that the launcher puts on an instance when it launches it.
    LaunchTag {
        /// Its runner class.
        Class = "mayfly:class",
        /// Which launcher it belongs to.
        Launcher = "mayfly:launcher",
        /// The jobs that its launch was for: ids, separated by spaces.
        Jobs = "mayfly:jobs",
        /// Their repository.
        Repository = "mayfly:repository",
        /// The labels of its runner, in order, separated by commas; a digest where they are longer than a tag.
        Labels = "mayfly:labels",
        /// The part of its parameter's name that nobody can guess.
        Ticket = "mayfly:ticket",
    }
}
