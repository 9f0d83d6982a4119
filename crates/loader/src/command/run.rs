//! The order around a program.
//!
//! Owns the steps and nothing of what they do; those before and after the program are the ones of a load into a table. Promises that the program is not
//! started for a drop that is loaded; that it is started once the drop's content is known, and not without the newest number; and that the lease is looked
//! at last before the commit. A run that ends between the program's success and the commit has loaded without a trace: the next one starts the program
//! again.

use std::path::Path;

use super::child;
use super::program::{Program, Told};
use crate::input::{DropInput, Input};
use crate::record::{BY_PROGRAM, Record};
use crate::run::{Done, Permit, Step, Steps, blank, explained, finish, known, note};
use crate::target::{Fence, Ledger, Merge, Ready};
use crate::{Error, Plan};

/// A load by a program.
struct Load<'a> {
    ledger: &'a dyn Ledger,
    plan: &'a Plan,
    permit: &'a dyn Permit,
    steps: &'a dyn Steps,
}

/// Has a program load a drop that lies in `folder`, an absolute path.
///
/// # Errors
/// [`Error::Program`] when it does not end with 0; [`Error::Unstartable`]; every other variant but `Rows`. After each but `Unsettled` the drop does not
/// count as loaded; what the program did until then is its own business.
pub async fn load_by(
    program: &Program,
    ledger: &dyn Ledger,
    (input, folder): (&mut DropInput, &Path),
    plan: &Plan,
    permit: &dyn Permit,
    steps: &dyn Steps,
) -> Result<Done, Error> {
    if plan.dry_run {
        let what = "what a program does cannot be taken back: there is no dry run of it";
        return Err(engine::Error::new(engine::Kind::Config, what).into());
    }
    let load = Load { ledger, plan, permit, steps };
    let mut record = blank(program.name().to_owned(), BY_PROGRAM.to_owned(), &*input, plan);
    let mut minted = None;
    let begun = tokio::select! {
        biased;
        error = permit.ended() => Err(error),
        begun = load.begin(input, &mut record, &mut minted) => begun,
    };
    let result = match begun {
        Ok(Begun::Already(by)) => {
            let other_options = by.options != plan.options;
            return Ok(Done::AlreadyLoaded { by, other_options });
        }
        Ok(Begun::Wanted(fence)) => load.work(program, input, folder, &fence, &record).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(done) => Ok(done),
        Err(error) => {
            let error = explained(ledger, minted.as_ref(), error).await;
            if minted.is_some() && error.is_settled() {
                note(ledger, record, &error).await;
            }
            Err(error)
        }
    }
}

enum Begun {
    Already(Box<Record>),
    Wanted(Fence),
}

impl Load<'_> {
    /// Up to the program: the number, the look into the ledger, the drop's identity.
    async fn begin(
        &self,
        input: &mut DropInput,
        record: &mut Record,
        minted: &mut Option<Fence>,
    ) -> Result<Begun, Error> {
        let fence = self.ledger.mint(&self.plan.job, self.plan.run).await?;
        record.epoch = fence.epoch;
        *minted = Some(fence.clone());
        self.steps.at(Step::Minted).await;
        if let Some(by) = known(self.ledger, input, self.plan, &record.listing).await? {
            return Ok(Begun::Already(Box::new(by)));
        }
        record.drop = Some(input.identity().await?);
        record.files = input.records();
        // Hashing takes long. Whoever has noted the drop meanwhile has minted a number, too.
        self.ledger.check(&fence).await?;
        self.steps.at(Step::Hashed).await;
        Ok(Begun::Wanted(fence))
    }

    /// The program, and what makes its work count.
    async fn work(
        &self,
        program: &Program,
        input: &mut DropInput,
        folder: &Path,
        fence: &Fence,
        record: &Record,
    ) -> Result<Done, Error> {
        let told = Told { folder, drop: record.drop.as_deref().unwrap_or_default(), fence };
        child::run(program, &told, self.permit).await?;
        let ready = tokio::select! {
            biased;
            error = self.permit.ended() => return Err(error),
            ready = self.enter(program, input, fence, record) => ready?,
        };
        finish(self.ledger, self.plan, self.permit, self.steps, ready, record).await
    }

    /// Opens the transaction that notes the load, if the program has had before it what was hashed.
    async fn enter(
        &self,
        program: &Program,
        input: &mut DropInput,
        fence: &Fence,
        record: &Record,
    ) -> Result<Box<dyn Ready>, Error> {
        self.steps.at(Step::Staged).await;
        input.unchanged().await?;
        match self.ledger.enter(fence, record, self.plan.reload).await? {
            Merge::Open(ready) => Ok(ready),
            Merge::Already => {
                let name = program.name();
                let what = format!("the drop came to be noted as loaded by somebody else while {name} was loading it");
                let hint = "look at `longshore load --history`, and at what is there twice";
                Err(engine::Error::new(engine::Kind::Data, what).hint(hint).into())
            }
        }
    }
}
