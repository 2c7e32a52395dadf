//! The life of a subscription in Firefox: a push shown with the page closed, and the end by unsubscribing or revoking.

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Library, Permission};

use super::Scene;

// Holds: A-128, D-02, D-20, G-15.
#[tokio::test]
async fn a_push_is_decrypted_and_shown_with_the_page_closed_until_the_user_unsubscribes_or_revokes()
-> Result<()> {
    let mut scene = Scene::start(Library::PyWebPush, &[]).await?;
    shown_with_the_page_closed(&mut scene).await.context("shown with the page closed")?;
    unsubscribed(&mut scene).await.context("unsubscribed")?;
    permission_revoked(&mut scene).await.context("permission revoked")?;
    scene.server.settled().await?;
    Ok(())
}

async fn shown_with_the_page_closed(scene: &mut Scene) -> Result<()> {
    let to = scene.subscribe("/shown/").await?;
    scene.firefox.close_page().await?;
    let text = "Grüße an den Worker, ☎ und schöne Zeichen";
    scene.deliver(&to, text).await?;
    let (shown, pages) = scene.page.push("/shown/", text.as_bytes()).await?;
    ensure!(shown == [text], "shown: {shown:?}");
    ensure!(pages == 0, "{pages} pages were open");
    scene.server.accounts("delivered once", |accounts| accounts.ended("delivered") == 1).await?;
    Ok(())
}

async fn unsubscribed(scene: &mut Scene) -> Result<()> {
    let origin = scene.page.origin();
    scene.firefox.open(&origin).await?;
    let to = scene.subscribe("/unsubscribed/").await?;
    scene.deliver(&to, "while it lives").await?;
    scene.page.push("/unsubscribed/", b"while it lives").await?;
    // True means that the service has answered: the next send must be refused.
    let done = scene.firefox.evaluate("unsubscribe('/unsubscribed/')").await?;
    ensure!(done == true, "unsubscribe() gave {done}");
    scene.refused(&to).await?;
    let next = scene.subscribe("/unsubscribed/").await?;
    ensure!(next.endpoint != to.endpoint, "an endpoint came back to life");
    scene.deliver(&next, "in its next life").await?;
    scene.page.push("/unsubscribed/", b"in its next life").await?;
    scene.refused(&to).await
}

async fn permission_revoked(scene: &mut Scene) -> Result<()> {
    let origin = scene.page.origin();
    let to = scene.subscribe("/revoked/").await?;
    scene.deliver(&to, "while it is allowed").await?;
    scene.page.push("/revoked/", b"while it is allowed").await?;
    scene.firefox.set_permission(&origin, Permission::Denied).await?;
    let permission = scene.firefox.evaluate("permission()").await?;
    ensure!(permission == "denied", "the permission is {permission}");
    scene.refused_in_the_end(&to).await?;
    scene.firefox.set_permission(&origin, Permission::Granted).await?;
    scene.page.subscription_change("/revoked/").await?;
    let next = scene.subscribe("/revoked/").await?;
    ensure!(next.endpoint != to.endpoint, "an endpoint came back to life");
    scene.deliver(&next, "allowed again").await?;
    scene.page.push("/revoked/", b"allowed again").await?;
    scene.refused(&to).await
}
